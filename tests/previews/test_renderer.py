"""Previews of untrusted files: what is rendered, what is rejected, and what remains."""

import asyncio
import contextlib
import functools
import io
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pillow_heif
import psutil
import pytest
import uvloop
from PIL import Image, ImageChops, ImageCms, ImageDraw, ImageStat
from tests.previews.conftest import Render

import docvault
from docvault.domain.media_types import PREVIEWABLE_MEDIA_TYPES
from docvault.domain.previews import PreviewSize
from docvault.previews import child, limits, renderer
from docvault.previews.renderer import (
    PreviewFailed,
    PreviewRenderer,
    PreviewUnavailable,
    RenderedPreview,
)

pillow_heif.register_heif_opener()

FORMATS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WEBP",
    "image/gif": "GIF",
    "image/tiff": "TIFF",
    "image/heic": "HEIF",
    "image/heif": "HEIF",
    "image/avif": "AVIF",
    "image/bmp": "BMP",
    "image/jp2": "JPEG2000",
}
SIDES = {PreviewSize.small: 200, PreviewSize.medium: 800, PreviewSize.large: 1600}
ORIENTATION = 0x0112
# The rotation with which a camera held in that way stores an upright scene.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


# --- Samples ----------------------------------------------------------------------------------


def scene(width: int = 400, height: int = 300) -> Image.Image:
    """Four coloured quarters, so that every rotation looks different."""
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width // 2 - 1, height // 2 - 1), fill="red")
    draw.rectangle((width // 2, 0, width, height // 2 - 1), fill="lime")
    draw.rectangle((0, height // 2, width // 2 - 1, height), fill="blue")
    return image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    output = io.BytesIO()
    image.save(output, kind, **options)
    return output.getvalue()


def pdf(*pages: str, declared: int | None = None, content: str = "") -> bytes:
    """Return a PDF of pages given by the content of their dictionaries."""
    kids = " ".join(f"{number + 4} 0 R" for number in range(len(pages)))
    count = declared if declared is not None else len(pages)
    objects = [
        "<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Count {count}/Kids[{kids}]>>",
        f"<</Length {len(content)}>>stream\n{content}\nendstream",
        *(f"<</Type/Page/Parent 2 0 R/Contents 3 0 R {page}>>" for page in pages),
    ]
    body, offsets = b"%PDF-1.7\n", []
    for number, text in enumerate(objects, start=1):
        offsets.append(len(body))
        body += f"{number} 0 obj{text}endobj\n".encode()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    trailer = f"trailer<</Size {len(objects) + 1}/Root 1 0 R>>\nstartxref\n{len(body)}\n%%EOF"
    return body + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}".encode()


def pdf_of_scene(page: str = "") -> bytes:
    quarters = "1 0 0 rg 0 150 200 150 re f 0 1 0 rg 200 150 200 150 re f 0 0 1 rg 0 0 200 150 re f"
    return pdf(f"/MediaBox[0 0 400 300]{page}", content=quarters)


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


@functools.cache
def large_sample(media_type: str) -> bytes:
    if media_type == "application/pdf":
        return pdf_of_scene()
    return encoded(scene(2000, 1500), FORMATS[media_type])


def opened(preview: RenderedPreview) -> Image.Image:
    image = Image.open(io.BytesIO(preview.body))
    assert Image.MIME[image.format or ""] == preview.media_type
    assert image.size == (preview.width, preview.height)
    return image


def pixel(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    """Return the bands of a pixel, also for images with a single band."""
    value: Any = image.getpixel((x, y))
    return value if isinstance(value, tuple) else (value,)


def assert_alike(image: Image.Image, expected: Image.Image) -> None:
    """Mean pixel difference below 3 % (test T28)."""
    assert image.size == expected.size
    difference = ImageStat.Stat(ImageChops.difference(image.convert("RGB"), expected))
    assert sum(difference.mean) / 3 / 255 < 0.03


# --- Rendered files ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", PreviewSize)
@pytest.mark.parametrize("media_type", sorted(PREVIEWABLE_MEDIA_TYPES))
async def test_longest_side_matches_size_for_every_type(
    render: Render, media_type: str, size: PreviewSize
) -> None:
    preview = await render(large_sample(media_type), media_type, size)
    side = SIDES[size]
    assert_alike(opened(preview), scene(side, side * 3 // 4))


@pytest.mark.parametrize("media_type", sorted(FORMATS))
async def test_small_image_is_not_enlarged(render: Render, media_type: str) -> None:
    preview = await render(encoded(scene(64, 48), FORMATS[media_type]), media_type)
    assert (preview.width, preview.height) == (64, 48)


async def test_long_thin_image_keeps_one_pixel(render: Render) -> None:
    preview = await render(encoded(Image.new("RGB", (10_000, 1)), "PNG"), "image/png")
    assert (preview.width, preview.height) == (800, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("media_type", ["image/jpeg", "image/png", "image/webp", "image/tiff"])
async def test_exif_orientation_is_applied(
    render: Render, media_type: str, orientation: int
) -> None:
    turn = STORED[orientation]
    stored = scene() if turn is None else scene().transpose(turn)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    preview = await render(encoded(stored, FORMATS[media_type], exif=exif), media_type)
    assert_alike(opened(preview), scene())


@pytest.mark.parametrize("orientation", range(1, 9))
async def test_rotated_heic_is_rotated_once(render: Render, orientation: int) -> None:
    # The encoder writes HEIF's own rotation in addition to the EXIF orientation, as phones do.
    turn = STORED[orientation]
    stored = scene() if turn is None else scene().transpose(turn)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    preview = await render(encoded(stored, "HEIF", exif=exif.tobytes()), "image/heic")
    assert_alike(opened(preview), scene())


async def test_non_numeric_orientation_is_ignored(render: Render) -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0abc\0\0\0\0\0"
    preview = await render(encoded(scene(), "JPEG", exif=exif), "image/jpeg")
    assert_alike(opened(preview), scene())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
async def test_metadata_is_removed(render: Render, kind: str, mode: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "SecretCamera"
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (52.0, 5.0, 7.0)
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">http://ns.adobe.com/xap SecretXmp</x:xmpmeta>'
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = scene()
    if mode == "RGBA" and kind != "JPEG":
        image.putalpha(128)
    source = encoded(image, kind, exif=exif, xmp=xmp, icc_profile=profile, comment=b"SecretNote")
    media_type = {v: k for k, v in FORMATS.items()}[kind]
    body = (await render(source, media_type)).body
    for trace in (b"Exif", b"eXIf", b"GPS", b"ns.adobe", b"Secret", b"ICC_PROFILE", b"iCCP"):
        assert trace not in body


async def test_transparency_gives_png(render: Render) -> None:
    image = scene()
    image.putalpha(Image.new("L", image.size, 255))
    image.paste((0, 0, 0, 0), (0, 0, 200, 150))
    preview = opened(await render(encoded(image, "PNG"), "image/png"))
    assert preview.format == "PNG"
    assert preview.getpixel((10, 10)) == (0, 0, 0, 0)
    assert preview.getpixel((390, 290)) == (255, 255, 255, 255)


async def test_opaque_alpha_channel_gives_jpeg(render: Render) -> None:
    preview = await render(encoded(scene().convert("RGBA"), "PNG"), "image/png")
    assert preview.media_type == "image/jpeg"


async def test_transparent_palette_colour_is_kept(render: Render) -> None:
    image = scene().quantize(4)
    seen_through = image.getpixel((10, 10))
    preview = opened(await render(encoded(image, "GIF", transparency=seen_through), "image/gif"))
    assert pixel(preview.convert("RGBA"), 10, 10)[3] == 0
    assert preview.convert("RGBA").getpixel((390, 10)) == (0, 255, 0, 255)


async def test_large_transparent_noise_gives_jpeg(render: Render) -> None:
    noise = Image.frombytes("RGBA", (1600, 1600), os.urandom(1600 * 1600 * 4))
    preview = await render(encoded(noise, "PNG"), "image/png", PreviewSize.large)
    assert preview.media_type == "image/jpeg"
    assert (preview.width, preview.height) == (1600, 1600)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
async def test_cmyk_becomes_rgb(render: Render, kind: str) -> None:
    media_type = {v: k for k, v in FORMATS.items()}[kind]
    preview = opened(await render(encoded(scene().convert("CMYK"), kind), media_type))
    assert preview.mode == "RGB"
    assert_alike(preview, scene())


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "LAB", "I", "I;16", "F"]
)
async def test_every_mode_keeps_light_and_dark(render: Render, mode: str) -> None:
    image = Image.new("L", (40, 40), 0)
    image.paste(255, (0, 0, 20, 40))
    if mode == "LAB":
        converted = ImageCms.profileToProfile(
            image.convert("RGB"),
            ImageCms.createProfile("sRGB"),
            ImageCms.createProfile("LAB"),
            outputMode="LAB",
        )
        assert converted is not None
        image = converted
    elif mode == "I;16":
        image = image.convert("I").point(lambda value: value * 257).convert("I;16")
    else:
        image = image.convert(mode)
    preview = opened(await render(encoded(image, "TIFF"), "image/tiff")).convert("L")
    assert pixel(preview, 5, 20)[0] > 245
    assert pixel(preview, 35, 20)[0] < 10


@pytest.mark.parametrize(("colour", "samples"), [(0, 1), (2, 3), (4, 2), (6, 4)])
async def test_png_of_16_bits_is_scaled_to_8(render: Render, colour: int, samples: int) -> None:
    grey = struct.pack(">H", 0x8000) * (samples - (colour >= 4))
    pixel = grey + (b"\xff\xff" if colour >= 4 else b"")
    row = b"\0" + pixel * 32
    preview = await render(png(32, 32, 16, colour, row * 32), "image/png")
    assert opened(preview).convert("L").getpixel((16, 16)) == pytest.approx(128, abs=2)


async def test_colour_profile_is_converted_to_srgb(render: Render) -> None:
    # A profile with red and green swapped: stored red is displayed as green.
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exchanged = srgb.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    source = encoded(Image.new("RGB", (40, 40), "red"), "PNG", icc_profile=exchanged)
    red, green, _ = pixel(opened(await render(source, "image/png")), 20, 20)
    assert red < 10
    assert green > 245


async def test_broken_colour_profile_is_ignored(render: Render) -> None:
    source = encoded(scene(), "PNG", icc_profile=b"no profile")
    assert_alike(opened(await render(source, "image/png")), scene())


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
async def test_first_frame_is_rendered(render: Render, kind: str) -> None:
    others = [Image.new("RGB", (400, 300), colour) for colour in ("black", "yellow")]
    source = encoded(scene(), kind, save_all=True, append_images=others)
    media_type = {v: k for k, v in FORMATS.items()}[kind]
    assert_alike(opened(await render(source, media_type)), scene())


async def test_first_pdf_page_is_rendered(render: Render) -> None:
    source = pdf(
        "/MediaBox[0 0 400 300]", "/MediaBox[0 0 300 300]", content="0 0 1 rg 0 0 9 9 re f"
    )
    preview = await render(source, "application/pdf")
    assert (preview.width, preview.height) == (800, 600)
    assert opened(preview).getpixel((400, 100)) == (255, 255, 255)


async def test_rotated_pdf_page_is_rendered_rotated(render: Render) -> None:
    preview = await render(pdf_of_scene("/Rotate 90"), "application/pdf")
    assert_alike(opened(preview), scene(800, 600).transpose(Image.Transpose.ROTATE_270))


@pytest.mark.parametrize(
    ("box", "shown"),
    [
        ("0 0 2834646 2834646", (800, 800)),
        ("0 0 1 10000", (1, 800)),
        ("0 0 10000 0.001", (800, 1)),
        ("400 300 0 0", (800, 600)),
    ],
    ids=["1000 m", "ribbon", "almost nothing", "inverted"],
)
async def test_pdf_page_of_unusual_size_fits(
    render: Render, box: str, shown: tuple[int, int]
) -> None:
    preview = await render(pdf(f"/MediaBox[{box}]"), "application/pdf")
    assert (preview.width, preview.height) == shown


@pytest.mark.parametrize("box", ["0 0 0 0", "1e99 0 0 1e99", "0 0 nan inf", "0 0 100 1e38"])
async def test_pdf_page_without_size_is_rendered_as_letter(render: Render, box: str) -> None:
    preview = await render(pdf(f"/MediaBox[{box}]"), "application/pdf")
    assert (preview.width, preview.height) == (618, 800)


# --- Rejected files ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: png(16_000, 15_626, 1, 0, b""),
        lambda: png(11_000, 11_000, 16, 2, b""),
        lambda: png(65_536, 1, 8, 0, b""),
    ],
    ids=["250 MP", "121 MP of 16 bits", "side over 65535"],
)
async def test_declared_dimensions_over_limit_are_rejected_immediately(
    render: Render, make: Callable[[], bytes]
) -> None:
    source = make()
    began = time.monotonic()
    with pytest.raises(PreviewFailed, match="over-limit"):
        await render(source, "image/png")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("media_type", sorted(PREVIEWABLE_MEDIA_TYPES))
@pytest.mark.parametrize("source", [b"", b"\0" * 4096], ids=["empty", "zeros"])
async def test_empty_file_fails(render: Render, media_type: str, source: bytes) -> None:
    with pytest.raises(PreviewFailed, match="broken"):
        await render(source, media_type)


async def test_only_the_format_of_the_media_type_is_tried(render: Render) -> None:
    with pytest.raises(PreviewFailed, match="broken"):
        await render(encoded(scene(), "PNG"), "image/jpeg")


async def test_unsupported_type_fails(render: Render) -> None:
    with pytest.raises(PreviewFailed, match="unsupported-type"):
        await render(b"hello", "text/plain")


# --- Children that misbehave ------------------------------------------------------------------


def picture_of(body: str, **changes: object) -> str:
    """Return a script that outputs a body (an expression) after a header with some changes."""
    header = {
        "media_type": "image/jpeg",
        "width": 8,
        "height": 8,
        "length": None,
        "pages": None,
    } | changes
    return textwrap.dedent(f"""
        import json, os, sys
        body = b"\\xff\\xd8\\xff" + {body}
        header = json.loads({json.dumps(header)!r})
        header["length"] = len(body) if header["length"] is None else header["length"]
        sys.stdout.buffer.write(json.dumps(header).encode() + b"\\n" + body)
        sys.stdout.flush()
    """)


HANG = "import time; time.sleep(60)"
FORK = "import os, time\nif os.fork() == 0:\n    {closing}\n    time.sleep(60)\n    os._exit(0)\n"


def renderer_of(script: str, *, parallel: int = 1) -> PreviewRenderer:
    previews = PreviewRenderer(parallel=parallel)
    previews._command = (sys.executable, "-I", "-S", "-c", script)
    return previews


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"whatever")
    return path


async def failure(previews: PreviewRenderer, source: Path) -> str:
    with pytest.raises(PreviewFailed) as caught:
        await previews.render(source, "image/png", PreviewSize.small)
    return caught.value.reason


async def settled() -> None:
    """Let asyncio run the callbacks that release the descriptors of closed pipes."""
    for _ in range(3):
        await asyncio.sleep(0)


# Servers shared with other tests, which run until the end.
SERVERS = {"postgres", "weed"}


def children() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            is_inspector = any("inspection" in argument for argument in process.cmdline())
            if process.name() not in SERVERS and not is_inspector:
                found.append(process)
    return found


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 -- processes send no events
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("", "bad-output"),
        ("print('hello')", "bad-output"),
        ("import os; os.write(1, os.urandom(100_000))", "bad-output"),
        ("import os\nwhile True: os.write(1, b'x' * 65536)", "bad-output"),
        (picture_of("b'more than declared'", length=4), "bad-output"),
        (picture_of("b'less than declared'", length=10**9), "bad-output"),
        (picture_of("b'too wide'", width=201), "bad-output"),
        (picture_of("b'no size'", height=0), "bad-output"),
        (picture_of("b'size is not a number'", height=True), "bad-output"),
        (picture_of("b'not the declared type'", media_type="image/png"), "bad-output"),
        (picture_of("b'active content'", media_type="text/html"), "bad-output"),
        (picture_of("b'type is not a string'", media_type=[]), "bad-output"),
        (picture_of("b'no page'", pages=0), "bad-output"),
        (picture_of("b'more pages than can be stored'", pages=2**31), "bad-output"),
        ("print([])", "bad-output"),
        ("print('[' * 100_000)", "bad-output"),
        (picture_of("b'fine'") + "sys.exit(1)", "crashed"),
        (picture_of("b'fine'") + "os.kill(os.getpid(), 9)", "crashed"),
        ("import os; os.abort()", "crashed"),
        (FORK.format(closing="os.close(1)") + picture_of("b'fine'"), "crashed"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", "time-limit"),
    ],
    ids=[
        "silent",
        "text",
        "garbage",
        "endless",
        "trailing bytes",
        "missing bytes",
        "too wide",
        "no height",
        "height true",
        "wrong signature",
        "html",
        "list as type",
        "no page",
        "too many pages",
        "list as header",
        "deep header",
        "exit code",
        "killed after the output",
        "aborted",
        "forked",
        "out of CPU time",
    ],
)
async def test_misbehaving_child_is_a_failure(source: Path, script: str, reason: str) -> None:
    assert await failure(renderer_of(script), source) == reason
    assert children() == []


@pytest.mark.parametrize(
    "script",
    [
        HANG,
        f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {HANG}",
        f"import os; os.close(1); {HANG}",
        FORK.format(closing="pass") + picture_of("b'fine'"),
        FORK.format(closing="pass") + HANG,
    ],
    ids=["hangs", "ignores SIGTERM", "closes its output", "leaves a child", "hangs with a child"],
)
async def test_timed_out_child_is_killed_with_children(
    source: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renderer, "WALL_SECONDS", 0.5)
    began = time.monotonic()
    assert await failure(renderer_of(script), source) == "time-limit"
    assert time.monotonic() - began < 5
    assert children() == []


async def test_failure_leaves_no_process_descriptor_or_file(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renderer, "WALL_SECONDS", 0.2)
    faults = ["", "import os; os.abort()", HANG, "import os\nwhile True: os.write(1, b'x' * 65536)"]
    await failure(renderer_of(""), source)
    await settled()
    before = psutil.Process().num_fds(), sorted(source.parent.iterdir())
    for fault in faults * 5:
        await failure(renderer_of(fault), source)
    await settled()
    assert (psutil.Process().num_fds(), sorted(source.parent.iterdir())) == before
    assert children() == []


async def test_cancelling_kills_the_child_and_its_children(source: Path) -> None:
    script = FORK.format(closing="pass") + HANG
    descriptors = psutil.Process().num_fds()
    task = asyncio.create_task(renderer_of(script).render(source, "image/png", PreviewSize.small))
    await until(lambda: len(children()) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: children() == [])
    await settled()
    assert psutil.Process().num_fds() == descriptors


async def test_cancelling_at_any_moment_leaves_no_process(source: Path) -> None:
    previews = renderer_of(picture_of("b'fine'"))
    await previews.render(source, "image/png", PreviewSize.small)
    await settled()
    descriptors = psutil.Process().num_fds()
    for moment in range(30):
        task = asyncio.create_task(previews.render(source, "image/png", PreviewSize.small))
        await asyncio.sleep(moment / 1000)
        task.cancel()
        await asyncio.wait([task])
    await settled()
    await until(lambda: children() == [])
    assert psutil.Process().num_fds() == descriptors
    await previews.render(source, "image/png", PreviewSize.small)


async def test_concurrent_children_are_limited(source: Path) -> None:
    previews = renderer_of("import time; time.sleep(0.2)\n" + picture_of("b'fine'"), parallel=2)
    tasks = [
        asyncio.create_task(previews.render(source, "image/png", PreviewSize.small))
        for _ in range(6)
    ]
    most = 0
    while not all(task.done() for task in tasks):
        most = max(most, len(children()))
        await asyncio.sleep(0.01)
    await asyncio.gather(*tasks)
    assert most == 2


async def test_failure_releases_permit(source: Path) -> None:
    previews = renderer_of("")
    for _ in range(3):
        assert await failure(previews, source) == "bad-output"


# --- Failures that are not the file's ---------------------------------------------------------


async def test_missing_source_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(PreviewUnavailable):
        await PreviewRenderer().render(tmp_path / "gone", "image/png", PreviewSize.small)


async def test_command_that_cannot_start_is_unavailable(source: Path) -> None:
    previews = PreviewRenderer()
    previews._command = ("/nonexistent/python",)
    descriptors = psutil.Process().num_fds()
    with pytest.raises(PreviewUnavailable):
        await previews.render(source, "image/png", PreviewSize.small)
    await settled()
    assert psutil.Process().num_fds() == descriptors


@pytest.mark.parametrize("spare", range(6))
async def test_running_out_of_descriptors_is_unavailable(source: Path, spare: int) -> None:
    # Two for the pipe, one for the source, and three that subprocess itself needs.
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptors = psutil.Process().num_fds()
    lowest_unused = os.dup(0)
    os.close(lowest_unused)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_unused + spare, limits[1]))
    try:
        with pytest.raises(PreviewUnavailable):
            await renderer_of("").render(source, "image/png", PreviewSize.small)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    await settled()
    assert psutil.Process().num_fds() == descriptors
    assert children() == []


async def test_missing_parsers_are_unavailable(source: Path) -> None:
    previews = PreviewRenderer()
    without_packages = ("-I", "-S", child.__file__)
    previews._command = (sys.executable, *without_packages)
    with pytest.raises(PreviewUnavailable):
        await previews.render(source, "image/png", PreviewSize.small)


# --- The environment of the child -------------------------------------------------------------

REPORT = """
import json, os
descriptors = {n: os.readlink(f"/proc/self/fd/{n}") for n in sorted(os.listdir("/proc/self/fd"))
               if os.path.exists(f"/proc/self/fd/{n}")}
report = {
    "environment": open("/proc/self/environ").read(),
    "descriptors": descriptors,
    "source_flags": int(open("/proc/self/fdinfo/0").read().split()[3], 8),
    "arguments": open("/proc/self/cmdline").read().split("\\0")[1:-1],
    "folder": os.getcwd(),
    "leads_its_session": os.getsid(0) == os.getpid(),
    "niceness": os.nice(0),
}
"""


async def report(previews: PreviewRenderer, source: Path) -> dict[str, Any]:
    preview = await previews.render(source, "image/png", PreviewSize.small)
    seen: dict[str, Any] = json.loads(preview.body[3:])
    return seen


async def test_child_sees_only_open_source(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCVAULT_DATABASE_URL", "postgresql://secret")
    previews = renderer_of(REPORT + picture_of("json.dumps(report).encode()"))
    with socket.socket() as listener:
        listener.set_inheritable(True)
        seen = await report(previews, source)
    assert seen["environment"] == ""
    assert sorted(seen["descriptors"]) == ["0", "1", "2"]
    assert seen["descriptors"]["0"] == str(source)
    assert seen["source_flags"] & os.O_ACCMODE == os.O_RDONLY
    assert seen["descriptors"]["1"].startswith("socket:")
    assert seen["descriptors"]["2"] == "/dev/null"
    assert seen["arguments"][-3:] == ["PNG", "200", "1"]
    assert seen["folder"] == "/"
    assert seen["leads_its_session"]


def test_child_under_uvloop_closes_descriptors_and_runs_at_low_priority(
    source: Path,
) -> None:
    # uvloop ignores close_fds, and uvicorn makes its listening socket inheritable.
    closing = f"""
import sys
import threading
sys.path[:0] = [{str(Path(child.__file__).parent)!r}, {str(Path(docvault.__file__).parents[1])!r}]
import child
child.limits.limit_resources("PNG", 200)
child.sandbox.ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # so that /proc/self can be read
"""
    previews = renderer_of(closing + REPORT + picture_of("json.dumps(report).encode()"))
    with socket.socket() as listener, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        listener.set_inheritable(True)
        seen = runner.run(report(previews, source))
    assert sorted(seen["descriptors"]) == ["0", "1", "2"]
    assert seen["niceness"] == os.nice(0) + limits.NICENESS


def test_previews_work_and_fail_under_uvloop(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source.write_bytes(encoded(scene(), "PNG"))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rendering = PreviewRenderer().render(source, "image/png", PreviewSize.small)
        assert runner.run(rendering).width == 200
        monkeypatch.setattr(renderer, "WALL_SECONDS", 0.5)
        hanging = renderer_of(FORK.format(closing="pass") + HANG)
        assert runner.run(failure(hanging, source)) == "time-limit"
    assert children() == []


async def test_killed_server_leaves_no_child(source: Path) -> None:
    child_script = f"""
import sys, time
sys.path[:0] = [{str(Path(child.__file__).parent)!r}, {str(Path(docvault.__file__).parents[1])!r}]
import child
child.limits.limit_resources("PNG", 200)
time.sleep(60)
"""
    server_script = f"""
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {str(Path(docvault.__file__).parents[1])!r})
from docvault.domain.previews import PreviewSize
from docvault.previews.renderer import PreviewRenderer
previews = PreviewRenderer()
previews._command = (sys.executable, "-I", "-S", "-c", {child_script!r})
asyncio.run(previews.render(Path({str(source)!r}), "image/png", PreviewSize.small))
"""
    server = subprocess.Popen([sys.executable, "-c", server_script])  # noqa: ASYNC220
    try:
        await until(lambda: len(psutil.Process(server.pid).children()) == 1)
        (left,) = psutil.Process(server.pid).children()
        await until(lambda: left.num_threads() == 1 and b"nonewprivs" in status(left.pid))
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()
    await until(lambda: not left.is_running() or left.status() == psutil.STATUS_ZOMBIE)


def status(pid: int) -> bytes:
    """Return the status of a process, with a marker once it has set no_new_privs."""
    text = Path(f"/proc/{pid}/status").read_bytes()
    return b"nonewprivs" if b"NoNewPrivs:\t1" in text else b""
