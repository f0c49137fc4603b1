"""Pictures of raster images, for `child`: import only once the limits are set."""

from __future__ import annotations

import copy  # noqa: F401 -- by Pillow's GIF decoder
import io
import struct
from contextlib import suppress
from typing import BinaryIO, cast

from PIL import (
    Image,
    ImageCms,
    ImageFile,
    MpoImagePlugin,  # noqa: F401 -- Pillow loads it at the first JPEG of several pictures
    PngImagePlugin,
    TiffImagePlugin,  # noqa: F401 -- not in `preinit`
    WebPImagePlugin,  # noqa: F401 -- not in `preinit`
)
from PIL.Image import Transpose

from docvault.previews.failures import NoSuchPageError, OverLimitError
from docvault.previews.strips import BAND_PIXELS, count_rows, read_bands

# The largest sensors of phones have 200 megapixels, some of 2^20 pixels each.
MAX_PIXELS = 250_000_000
MAX_SIDE = 65_535
# What the decoded picture may take of the address space; libraries and the small picture need the
# rest. Anything that takes more than estimated ends in a `MemoryError`.
MAX_DECODED_BYTES = 448 * 1024 * 1024
_WIDE_MODES = {"1": 1, "L": 1, "P": 1, "LA": 4, "PA": 4}
# A progressive JPEG is kept as coefficients until its last scan: 16 bits for each sample.
_COEFFICIENT_BYTES = 2
# Pillow's limit for color profiles too. Those of printers take 2 MiB.
_MAX_TEXT_CHUNK_BYTES = 8 * 1024 * 1024
# Pillow decompresses them when it opens the file, and fails if they are large. It skips chunks that
# it has no method for.
_TEXT_CHUNKS = ("chunk_tEXt", "chunk_zTXt", "chunk_iTXt")

# Length, type, and the length if the first one is 1.
_BOX_HEADER = struct.Struct(">L4sQ")
_MAX_FILLED_BYTES = 64 << 20

_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


def load_decoders(kind: str) -> None:
    """Import everything that decoding `kind` needs, since no file can be opened later."""
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    PngImagePlugin.MAX_TEXT_CHUNK = _MAX_TEXT_CHUNK_BYTES
    for method in _TEXT_CHUNKS:
        delattr(PngImagePlugin.PngStream, method)
    Image.preinit()
    if kind == "AVIF":
        from PIL import AvifImagePlugin  # noqa: PLC0415 -- load only the parser needed

        # No thread can be started later.
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    elif kind == "JPEG2000":
        from PIL import Jpeg2KImagePlugin  # noqa: F401, PLC0415 -- load only the parser needed
    elif kind == "HEIF":
        import pillow_heif  # noqa: PLC0415 -- load only the parser needed

        # An embedded thumbnail may show something else than the image.
        pillow_heif.register_heif_opener(
            thumbnails=False, depth_images=False, aux_images=False, decode_threads=1
        )


def render_image(source: BinaryIO, kind: str, side: int, page: int) -> Image.Image:
    """Return an image, upright, sRGB, in mode L, RGB or RGBA, at most `side` pixels long.

    Of a truncated image, the part that can be decoded. Only a TIFF has more than one page; the
    other frames of an animation have no preview.
    """
    try:
        image = _load(source, kind, side, page)
    except (OverLimitError, NoSuchPageError, MemoryError):
        raise
    except Exception:  # noqa: BLE001 -- decoders raise anything
        image = _load_part(source, kind, side, page)
    profile = image.info.get("icc_profile")
    orientation = _read_orientation(image)
    upright = _turn(_shrink(image, side), orientation)
    return _simplify_mode(_convert_to_srgb(upright, profile))


def _load_part(source: BinaryIO, kind: str, side: int, page: int) -> Image.Image:
    """Load the decodable part of an image; raises `ValueError` if there is none."""
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    if kind == "HEIF":
        source = _fill_up(source)
    image = _load(source, kind, side, page)
    # Pillow now ignores every error of a decoder, even for lack of memory.
    if image.getbbox() is None:
        raise ValueError("no pixel was decoded")
    return image


def _fill_up(source: BinaryIO) -> BinaryIO:
    """Return a file of boxes with zeros for what is missing at its end (ISO/IEC 14496-12, 4.2).

    The decoder refuses a picture that ends too early, but not one that is wrong.
    """
    source.seek(0)
    data = source.read()
    end = 0
    while end + _BOX_HEADER.size <= len(data):
        short, _, long = _BOX_HEADER.unpack_from(data, end)
        end += max(long if short == 1 else short, _BOX_HEADER.size)
    return io.BytesIO(data.ljust(min(end, len(data) + _MAX_FILLED_BYTES), b"\0"))


def _load(source: BinaryIO, kind: str, side: int, page: int) -> Image.Image:
    source.seek(0)
    try:
        image = Image.open(source, formats=(kind,))
    except Image.DecompressionBombError:
        raise OverLimitError from None
    # Not `n_frames`, which reads all frames.
    if page > 1:
        if kind != "TIFF":
            raise NoSuchPageError
        try:
            image.seek(page - 1)
        except EOFError:
            raise NoSuchPageError from None
    _check_size(image)
    if kind == "JPEG":
        _check_coefficients(image)
        # Decodes at 1/2, 1/4 or 1/8 of the size if that leaves twice the required pixels.
        image.draft(None, (2 * side, 2 * side))
    if _decoded_bytes(image) > MAX_DECODED_BYTES:
        return _load_in_bands(source, image, side)
    try:
        image.load()
    except OSError:
        # The decoder of TIFF leaves what it has decoded.
        if image.tile or not ImageFile.LOAD_TRUNCATED_IMAGES:
            raise
    # The real size of a HEIC file is only known now.
    _check_size(image)
    return image


def _check_size(image: Image.Image) -> None:
    if max(image.size) > MAX_SIDE or image.width * image.height > MAX_PIXELS:
        raise OverLimitError


def _check_coefficients(image: Image.Image) -> None:
    if "progressive" in image.info:
        samples = len(image.getbands()) * image.width * image.height
        # With the usual halved color, two of three components have a quarter of the samples.
        if samples // 2 * _COEFFICIENT_BYTES > MAX_DECODED_BYTES:
            raise OverLimitError


def _decoded_bytes(image: Image.Image) -> int:
    pixel_bytes = 2 if image.mode.startswith("I;16") else _WIDE_MODES.get(image.mode, 4)
    return image.width * image.height * pixel_bytes


def _load_in_bands(source: BinaryIO, image: Image.Image, side: int) -> Image.Image:
    """Return a smaller picture of one that would not fit into memory.

    Raises `OverLimitError` if the picture can only be decoded as a whole.
    """
    factor = int(max(image.size) / (2 * side))
    if image.mode.startswith(("I", "F")) or factor < 2:  # noqa: PLR2004
        raise OverLimitError
    bands = [_make_averageable(band).reduce(factor) for band in read_bands(source, image, factor)]
    small = _join(bands, -(-count_rows(image) // factor))
    small.info = {"icc_profile": image.info.get("icc_profile")}
    small.getexif()[_ORIENTATION_TAG] = _read_orientation(image)
    return small


def _make_averageable(image: Image.Image) -> Image.Image:
    """Convert to a mode whose pixel values can be averaged; does not copy if it already is."""
    if image.mode.startswith(("I", "F")):
        return image
    if image.mode in {"L", "LA", "RGB", "RGBA", "CMYK"} and "transparency" not in image.info:
        return image
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image.convert("L" if image.mode == "1" else "RGB")


def _shrink(image: Image.Image, side: int) -> Image.Image:
    scale = min(1.0, side / max(image.size))
    width, height = (max(1, round(length * scale)) for length in image.size)
    reduced = _reduce(image, int(max(image.size) / (2 * side)))
    return reduced.resize((width, height), Image.Resampling.BICUBIC)


def _reduce(image: Image.Image, factor: int) -> Image.Image:
    """Average squares of `factor` pixels, band by band, so that no second large copy is made."""
    # Pillow cannot reduce 16-bit images (ValueError "image has wrong mode").
    if factor < 2 or image.mode.startswith("I;16"):  # noqa: PLR2004
        return _make_averageable(image)
    height = max(1, BAND_PIXELS // image.width // factor) * factor
    bands = [
        _make_averageable(
            image.crop((0, top, image.width, min(top + height, image.height)))
        ).reduce(factor)
        for top in range(0, image.height, height)
    ]
    return _join(bands, sum(band.height for band in bands))


def _join(bands: list[Image.Image], height: int) -> Image.Image:
    """Return one picture; what has no band is black."""
    if not bands:
        raise ValueError("no pixel was decoded")
    whole = Image.new(bands[0].mode, (bands[0].width, height))
    top = 0
    for band in bands:
        whole.paste(band, (0, top))
        top += band.height
    return whole


def _read_orientation(image: Image.Image) -> int:
    # The decoders of TIFF and HEIC turn the image themselves and remove the tag.
    with suppress(Exception):
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    return 1


def _turn(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _convert_to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile:
        # A profile that is corrupt or of another color space is ignored.
        with suppress(Exception):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            mode = "RGBA" if image.mode == "RGBA" else "RGB"
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode=mode
            )
            return converted or image
    return image


def _simplify_mode(image: Image.Image) -> Image.Image:
    """Convert to mode L, RGB or, if any pixel is transparent, RGBA."""
    if image.mode.startswith(("I", "F")):
        return _convert_to_8_bits(image)
    if image.mode in {"LA", "RGBA"} and image.getchannel("A").getextrema() != (255, 255):
        return image.convert("RGBA")
    return image.convert("L" if image.mode in {"L", "LA"} else "RGB")


def _convert_to_8_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey; stretch 32-bit grey, for which white is not defined."""
    wide = image.convert("F")
    low, high = cast("tuple[float, float]", wide.getextrema())
    if image.mode.startswith("I;16"):
        low, high = 0, 65535
    scale = 255 / (high - low) if high > low else 0
    return wide.point(lambda value: value * scale + (0.5 - low * scale)).convert("L")
