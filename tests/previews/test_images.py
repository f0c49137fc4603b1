"""Pictures of large, long and damaged images."""

import io
import os
import struct
import zlib

import pillow_heif
import pytest
from PIL import Image, ImageCms, PngImagePlugin
from tests.factories import files
from tests.previews.conftest import Render

from docvault.domain.previews import PreviewSize
from docvault.previews.renderer import NoSuchPage, PreviewFailed

pillow_heif.register_heif_opener()


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    output = io.BytesIO()
    image.save(output, kind, **options)
    return output.getvalue()


def photo(width: int = 1200, height: int = 900) -> Image.Image:
    """A white picture with noise, which does not compress to almost nothing."""
    noise = Image.frombytes("RGB", (width // 8, height // 8), os.urandom(width * height // 64 * 3))
    return Image.blend(
        Image.new("RGB", (width, height), "white"), noise.resize((width, height)), 0.2
    )


def brightness(body: bytes, part: float) -> float:
    """Return the brightness of a tenth of the picture, which begins at this part of its height."""
    picture = Image.open(io.BytesIO(body)).convert("L")
    top = round(picture.height * part)
    tenth = picture.crop((0, top, picture.width, top + picture.height // 10))
    return float(tenth.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0)))  # type: ignore[arg-type]


def flat_png(width: int, height: int, depth: int, color: int, row: bytes) -> bytes:
    header = files.png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    deflate = zlib.compressobj(1)
    rows = b"".join(deflate.compress(b"\0" + row) for _ in range(height)) + deflate.flush()
    end = files.png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + files.png_chunk(b"IDAT", rows) + end


def tiff_of_strips(height: int = 900) -> bytes:
    """A TIFF as scanners write it: the directory first, and then strips of 16 rows."""
    strips = [zlib.compress(os.urandom(8) + b"\xff" * (800 * 16 - 8)) for _ in range(height // 16)]
    lists = 10 + 12 * 8 + 4
    data = lists + 2 * 4 * len(strips)
    offsets = [data + sum(map(len, strips[:number])) for number in range(len(strips))]
    numbers = struct.pack(f"<{2 * len(strips)}L", *offsets, *map(len, strips))
    entries = [
        (256, 1, 800),
        (257, 1, 16 * len(strips)),
        (258, 1, 8),
        (259, 1, 8),
        (262, 1, 1),
        (273, len(strips), lists),
        (278, 1, 16),
        (279, len(strips), lists + 4 * len(strips)),
    ]
    directory = b"".join(struct.pack("<HHLL", tag, 4, n, value) for tag, n, value in entries)
    head = b"II*\0" + struct.pack("<LH", 8, len(entries)) + directory + bytes(4)
    return head + numbers + b"".join(strips)


# --- Large images -----------------------------------------------------------------------------


@pytest.mark.req("B-083")
@pytest.mark.parametrize("size", PreviewSize)
async def test_jpeg_of_200_megapixels_is_rendered(render: Render, size: PreviewSize) -> None:
    source = encoded(Image.new("RGB", (16_384, 12_288), "white"), "JPEG")
    assert brightness((await render(source, "image/jpeg", size)).body, 0.5) > 250


@pytest.mark.req("B-083")
@pytest.mark.parametrize(
    ("depth", "color", "row"),
    [(1, 0, b"\xff" * 2_040), (8, 0, b"\xff" * 16_320)],
    ids=["black and white", "grey"],
)
async def test_grey_png_of_200_megapixels_is_rendered(
    render: Render, depth: int, color: int, row: bytes
) -> None:
    source = flat_png(16_320, 12_240, depth, color, row)
    assert brightness((await render(source, "image/png")).body, 0.5) > 250


@pytest.mark.req("B-132")
async def test_color_image_that_does_not_fit_into_memory_is_rendered(render: Render) -> None:
    source = flat_png(14_000, 9_300, 8, 2, b"\xff" * 42_000)
    assert brightness((await render(source, "image/png")).body, 0.5) > 250


@pytest.mark.req("B-083")
async def test_fax_of_200_megapixels_is_rendered(render: Render) -> None:
    source = encoded(Image.new("1", (16_320, 12_240), 1), "TIFF", compression="group4")
    assert brightness((await render(source, "image/tiff")).body, 0.5) > 250


@pytest.mark.req("B-083")
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "HEIF"])
async def test_color_image_of_48_megapixels_is_rendered(render: Render, kind: str) -> None:
    source = encoded(Image.new("RGB", (8_064, 6_048), "white"), kind)
    media_type = "image/heic" if kind == "HEIF" else f"image/{kind.lower()}"
    assert brightness((await render(source, media_type)).body, 0.5) > 250


@pytest.mark.req("B-083")
@pytest.mark.parametrize("size", [(30_000, 400), (65_500, 10)])
async def test_long_strip_is_rendered(render: Render, size: tuple[int, int]) -> None:
    preview = await render(encoded(Image.new("RGB", size, "white"), "PNG"), "image/png")
    assert preview.width == 800


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "RGBA", "LA", "CMYK", "I"])
async def test_large_image_is_shown_from_edge_to_edge(render: Render, mode: str) -> None:
    picture = Image.new("RGB", (4_001, 2_999), "white")
    picture.paste("black", (0, 2_900, 4_001, 2_999))
    source = encoded(picture.convert("L" if mode == "I" else mode).convert(mode), "TIFF")
    body = (await render(source, "image/tiff", PreviewSize.small)).body
    picture = Image.open(io.BytesIO(body)).convert("L")
    assert picture.size == (200, 150)
    shades = [picture.getpixel((100, y)) for y in (0, 140, 147, 149)]
    assert [shade > 128 for shade in shades] == [True, True, False, False]  # type: ignore[operator]


# --- Long images ------------------------------------------------------------------------------


@pytest.mark.req("B-083")
@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
async def test_number_of_frames_is_not_limited(render: Render, kind: str) -> None:
    shades = [Image.new("L", (64, 48), 255 if number == 0 else 0) for number in range(300)]
    source = encoded(shades[0], kind, save_all=True, append_images=shades[1:])
    assert brightness((await render(source, f"image/{kind.lower()}")).body, 0.5) > 250


@pytest.mark.req("B-082")
async def test_each_page_of_tiff_is_rendered(render: Render) -> None:
    shades = [Image.new("L", (64, 48), shade) for shade in (255, 128, 0)]
    source = encoded(shades[0], "TIFF", save_all=True, append_images=shades[1:])
    bodies = [(await render(source, "image/tiff", page=page)).body for page in (1, 2, 3)]
    assert [round(brightness(body, 0.5), -1) for body in bodies] == [260, 130, 0]
    with pytest.raises(NoSuchPage):
        await render(source, "image/tiff", page=4)


@pytest.mark.req("B-082")
@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
async def test_animation_has_one_page(render: Render, kind: str) -> None:
    frames = [Image.new("L", (64, 48), shade) for shade in (255, 0)]
    source = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(NoSuchPage):
        await render(source, f"image/{kind.lower()}", page=2)


# --- Damaged images ---------------------------------------------------------------------------


@pytest.mark.req("B-084")
@pytest.mark.parametrize("missing", [2, 0.4])
async def test_what_is_there_of_truncated_heic_is_shown(render: Render, missing: float) -> None:
    source = encoded(photo(), "HEIF")
    kept = len(source) - 2 if missing == 2 else round(len(source) * (1 - missing))
    assert brightness((await render(source[:kept], "image/heic")).body, 0.1) > 190


async def test_heic_of_which_only_the_header_is_there_has_no_preview(render: Render) -> None:
    with pytest.raises(PreviewFailed):
        await render(encoded(photo(), "HEIF")[:200], "image/heic")


@pytest.mark.req("B-084")
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("PNG", {}),
        ("GIF", {}),
        ("TIFF", {"compression": "raw"}),
    ],
)
async def test_first_half_of_truncated_image_is_shown(
    render: Render, kind: str, options: dict[str, object]
) -> None:
    source = encoded(photo(), kind, **options)
    body = (await render(source[: len(source) * 6 // 10], f"image/{kind.lower()}")).body
    assert brightness(body, 0.1) > 190


@pytest.mark.req("B-084")
async def test_first_half_of_truncated_scan_is_shown(render: Render) -> None:
    source = tiff_of_strips()
    assert brightness((await render(source, "image/tiff")).body, 0.85) > 190
    half = (await render(source[: len(source) * 6 // 10], "image/tiff")).body
    assert brightness(half, 0.1) > 190


@pytest.mark.req("B-084")
@pytest.mark.parametrize("missing", [1, 2, 100])
async def test_jpeg_without_its_end_is_shown(render: Render, missing: int) -> None:
    source = encoded(photo(), "JPEG")
    body = (await render(source[:-missing], "image/jpeg")).body
    assert brightness(body, 0.85) > 190


@pytest.mark.req("B-084")
@pytest.mark.parametrize("compressed", [True, False])
async def test_png_with_large_texts_is_shown(render: Render, compressed: bool) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", "x" * 12_000_000, zip=compressed)
    for number in range(100):
        texts.add_text(f"Comment {number}", "y" * 1_000_000, zip=True)
    source = encoded(photo(), "PNG", pnginfo=texts)
    assert brightness((await render(source, "image/png")).body, 0.5) > 190


@pytest.mark.req("B-084")
async def test_png_with_large_color_profile_is_shown(render: Render) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    source = encoded(photo(), "PNG", icc_profile=profile + bytes(12_000_000))
    assert brightness((await render(source, "image/png")).body, 0.5) > 190


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "HEIF"])
async def test_header_alone_is_no_picture(render: Render, kind: str) -> None:
    source = encoded(Image.new("RGB", (64, 48)), kind)
    media_type = "image/heic" if kind == "HEIF" else f"image/{kind.lower()}"
    with pytest.raises(PreviewFailed, match="broken"):
        await render(source[:40], media_type)
