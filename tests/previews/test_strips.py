"""Pictures that are decoded a few rows at a time are the same as decoded at once."""

import io
import os
from collections.abc import Callable

import pytest
from PIL import Image, ImageChops, TiffImagePlugin

from docvault.previews import images, strips
from docvault.previews.failures import OverLimitError

WIDTH, HEIGHT = 101, 80
FACTOR = 3


@pytest.fixture(autouse=True)
def narrow_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "BAND_PIXELS", 10 * WIDTH)


def noise(mode: str) -> Image.Image:
    """A picture that uses all filters of PNG: noise, and a gradient below it."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    upper = Image.frombytes(mode, (WIDTH, HEIGHT // 2), os.urandom(WIDTH * HEIGHT // 2 * bands))
    gradient = Image.linear_gradient("L").resize((WIDTH, HEIGHT)).rotate(30).convert(mode)
    gradient.paste(upper)
    return gradient


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    output = io.BytesIO()
    image.save(output, kind, **options)
    return output.getvalue()


def tiff(image: Image.Image, rows: int, compression: str = "tiff_lzw", **tags: int) -> bytes:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[278] = rows
    for name, value in tags.items():
        info[int(name.removeprefix("tag_"))] = value
    return encoded(image, "TIFF", compression=compression, tiffinfo=info)


def bands_of(data: bytes) -> list[Image.Image]:
    source = io.BytesIO(data)
    return list(strips.read_bands(source, Image.open(source), FACTOR))


def assert_same(data: bytes) -> None:
    whole = Image.open(io.BytesIO(data))
    whole.load()
    bands = bands_of(data)
    assert len(bands) > 1
    assert [band.height % FACTOR for band in bands[:-1]] == [0] * (len(bands) - 1)
    top = 0
    for band in bands:
        expected = whole.crop((0, top, whole.width, top + band.height))
        assert (band.mode, band.tobytes()) == (whole.mode, expected.tobytes())
        top += band.height
    assert top == whole.height


@pytest.mark.req("B-132")
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_bands_of_png_are_its_rows(mode: str) -> None:
    assert_same(encoded(noise(mode), "PNG"))


@pytest.mark.req("B-132")
def test_color_that_stands_for_transparent_is_kept() -> None:
    data = encoded(noise("RGB"), "PNG", transparency=(1, 2, 3))
    assert bands_of(data)[0].info["transparency"] == (1, 2, 3)


@pytest.mark.req("B-132")
def test_bands_of_truncated_png_end_early() -> None:
    data = encoded(noise("RGB"), "PNG")
    bands = bands_of(data[: len(data) // 2])
    assert 0 < sum(band.height for band in bands) < HEIGHT


@pytest.mark.parametrize(
    "make",
    [
        lambda: encoded(noise("L"), "PNG"),
        lambda: encoded(Image.new("I;16", (WIDTH, HEIGHT)), "PNG"),
        lambda: tiff(noise("RGB"), HEIGHT),
        lambda: encoded(noise("RGB"), "WEBP"),
    ],
)
def test_picture_that_can_only_be_decoded_as_a_whole_is_over_the_limit(
    make: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strips, "_MAX_BAND_PIXELS", 20 * WIDTH)
    with pytest.raises(OverLimitError):
        bands_of(make())


@pytest.mark.req("B-132")
@pytest.mark.parametrize("rows", [1, 2, 7, 9])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "1", "CMYK"])
def test_bands_of_tiff_are_its_rows(mode: str, compression: str, rows: int) -> None:
    image = noise("L").convert("1") if mode == "1" else noise(mode)
    assert_same(tiff(image, rows, compression))


@pytest.mark.req("B-132")
@pytest.mark.parametrize(
    "make",
    [
        lambda: tiff(noise("L").convert("1"), 8, "group4"),
        lambda: tiff(noise("RGB"), 8, "tiff_lzw", tag_317=2),
        lambda: tiff(noise("L").convert("P"), 8),
        lambda: tiff(noise("RGB"), HEIGHT, "raw"),
    ],
)
def test_tags_that_the_decoder_needs_are_kept(make: Callable[[], bytes]) -> None:
    assert_same(make())


@pytest.mark.req("B-132")
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_picture_in_bands_is_turned_and_shrunk_like_others(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(noise("RGB").crop((0, 0, 96, HEIGHT)), kind, exif=exif)
    whole = images.render_image(io.BytesIO(data), kind, 12, 1)
    monkeypatch.setattr(images, "MAX_DECODED_BYTES", 1000)
    shown = images.render_image(io.BytesIO(data), kind, 12, 1)
    assert (shown.size, whole.size) == ((10, 12), (10, 12))
    difference = ImageChops.difference(shown, whole).getextrema()
    assert max(high for _, high in difference) < 16  # type: ignore[misc]


def test_picture_that_is_too_small_to_shrink_is_over_the_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(images, "MAX_DECODED_BYTES", 1000)
    with pytest.raises(OverLimitError):
        images.render_image(io.BytesIO(encoded(noise("RGB"), "PNG")), "PNG", 100, 1)
