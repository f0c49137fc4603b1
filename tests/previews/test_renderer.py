"""Pictures of untrusted files: what is rendered, what is refused, and what is left behind."""

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

import docvault
from docvault.previews import child, renderer
from docvault.previews.renderer import (
    PREVIEWABLE_TYPES,
    PreviewFailed,
    PreviewRenderer,
    PreviewUnavailable,
    RenderedPreview,
)
from docvault.rules.previews import PreviewSize

pillow_heif.register_heif_opener()

FORMATS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WEBP",
    "image/gif": "GIF",
    "image/tiff": "TIFF",
    "image/heic": "HEIF",
    "image/heif": "HEIF",
}
SIDES = {PreviewSize.small: 200, PreviewSize.medium: 800, PreviewSize.large: 1600}
ORIENTATION = 0x0112
# The turn with which a camera held in that way stores an upright scene.
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
    """Four coloured quarters, so that no turn of it looks like another."""
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
    """A PDF of pages given by the inside of their dictionaries; objects 1 and 2 are fixed."""
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


Render = Callable[..., Any]


@pytest.fixture
def render(tmp_path: Path) -> Render:
    async def rendered(
        source: bytes, media_type: str, size: PreviewSize = PreviewSize.medium
    ) -> RenderedPreview:
        path = tmp_path / "source"
        path.write_bytes(source)
        return await PreviewRenderer().render(path, media_type, size)

    return rendered


def opened(preview: RenderedPreview) -> Image.Image:
    image = Image.open(io.BytesIO(preview.body))
    assert Image.MIME[image.format or ""] == preview.media_type
    assert image.size == (preview.width, preview.height)
    return image


def assert_alike(image: Image.Image, expected: Image.Image) -> None:
    """Mean pixel difference below 3 % (test T28)."""
    assert image.size == expected.size
    difference = ImageStat.Stat(ImageChops.difference(image.convert("RGB"), expected))
    assert sum(difference.mean) / 3 / 255 < 0.03


# --- What is rendered -------------------------------------------------------------------------


@pytest.mark.parametrize("size", PreviewSize)
@pytest.mark.parametrize("media_type", sorted(PREVIEWABLE_TYPES))
async def test_every_type_renders_with_the_longest_side_of_the_size(
    render: Render, media_type: str, size: PreviewSize
):
    preview = await render(large_sample(media_type), media_type, size)
    side = SIDES[size]
    assert_alike(opened(preview), scene(side, side * 3 // 4))


@pytest.mark.parametrize("media_type", sorted(FORMATS))
async def test_a_small_image_is_not_enlarged(render: Render, media_type: str):
    preview = await render(encoded(scene(64, 48), FORMATS[media_type]), media_type)
    assert (preview.width, preview.height) == (64, 48)


async def test_a_long_and_thin_image_keeps_at_least_one_pixel(render: Render):
    preview = await render(encoded(Image.new("RGB", (10_000, 1)), "PNG"), "image/png")
    assert (preview.width, preview.height) == (800, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("media_type", ["image/jpeg", "image/png", "image/webp", "image/tiff"])
async def test_exif_orientation_is_applied(render: Render, media_type: str, orientation: int):
    turn = STORED[orientation]
    stored = scene() if turn is None else scene().transpose(turn)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    preview = await render(encoded(stored, FORMATS[media_type], exif=exif), media_type)
    assert_alike(opened(preview), scene())


@pytest.mark.parametrize("orientation", range(1, 9))
async def test_a_turned_heic_is_turned_once(render: Render, orientation: int):
    # The encoder writes HEIF's own turn beside the EXIF orientation, as phones do.
    turn = STORED[orientation]
    stored = scene() if turn is None else scene().transpose(turn)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    preview = await render(encoded(stored, "HEIF", exif=exif.tobytes()), "image/heic")
    assert_alike(opened(preview), scene())


async def test_an_orientation_that_is_no_number_is_ignored(render: Render):
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x04\0\0\0abc\0\0\0\0\0"
    preview = await render(encoded(scene(), "JPEG", exif=exif), "image/jpeg")
    assert_alike(opened(preview), scene())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
async def test_no_metadata_comes_through(render: Render, kind: str, mode: str):
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


async def test_transparency_is_kept_as_png(render: Render):
    image = scene()
    image.putalpha(Image.new("L", image.size, 255))
    image.paste((0, 0, 0, 0), (0, 0, 200, 150))
    preview = opened(await render(encoded(image, "PNG"), "image/png"))
    assert preview.format == "PNG"
    assert preview.getpixel((10, 10)) == (0, 0, 0, 0)
    assert preview.getpixel((390, 290)) == (255, 255, 255, 255)


async def test_an_opaque_alpha_channel_makes_a_jpeg(render: Render):
    preview = await render(encoded(scene().convert("RGBA"), "PNG"), "image/png")
    assert preview.media_type == "image/jpeg"


async def test_a_transparent_palette_colour_is_kept(render: Render):
    image = scene().quantize(4)
    seen_through = image.getpixel((10, 10))
    preview = opened(await render(encoded(image, "GIF", transparency=seen_through), "image/gif"))
    assert preview.convert("RGBA").getpixel((10, 10))[3] == 0
    assert preview.convert("RGBA").getpixel((390, 10)) == (0, 255, 0, 255)


async def test_transparent_noise_too_large_for_a_png_becomes_a_jpeg(render: Render):
    noise = Image.frombytes("RGBA", (1600, 1600), os.urandom(1600 * 1600 * 4))
    preview = await render(encoded(noise, "PNG"), "image/png", PreviewSize.large)
    assert preview.media_type == "image/jpeg"
    assert (preview.width, preview.height) == (1600, 1600)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
async def test_cmyk_becomes_rgb(render: Render, kind: str):
    media_type = {v: k for k, v in FORMATS.items()}[kind]
    preview = opened(await render(encoded(scene().convert("CMYK"), kind), media_type))
    assert preview.mode == "RGB"
    assert_alike(preview, scene())


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "LAB", "I", "I;16", "F"]
)
async def test_every_mode_keeps_its_light_and_dark(render: Render, mode: str):
    image = Image.new("L", (40, 40), 0)
    image.paste(255, (0, 0, 20, 40))
    if mode == "LAB":
        image = ImageCms.profileToProfile(
            image.convert("RGB"),
            ImageCms.createProfile("sRGB"),
            ImageCms.createProfile("LAB"),
            outputMode="LAB",
        )
    elif mode == "I;16":
        image = image.convert("I").point(lambda value: value * 257).convert("I;16")
    else:
        image = image.convert(mode)
    preview = opened(await render(encoded(image, "TIFF"), "image/tiff")).convert("L")
    assert preview.getpixel((5, 20)) > 245
    assert preview.getpixel((35, 20)) < 10


@pytest.mark.parametrize(("colour", "samples"), [(0, 1), (2, 3), (4, 2), (6, 4)])
async def test_a_png_of_16_bits_is_scaled_to_8(render: Render, colour: int, samples: int):
    grey = struct.pack(">H", 0x8000) * (samples - (colour >= 4))
    pixel = grey + (b"\xff\xff" if colour >= 4 else b"")
    row = b"\0" + pixel * 32
    preview = await render(png(32, 32, 16, colour, row * 32), "image/png")
    assert opened(preview).convert("L").getpixel((16, 16)) == pytest.approx(128, abs=2)


async def test_a_colour_profile_is_converted_to_srgb(render: Render):
    # A profile whose red and green are exchanged: what is stored as red is seen as green.
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exchanged = srgb.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    source = encoded(Image.new("RGB", (40, 40), "red"), "PNG", icc_profile=exchanged)
    red, green, _ = opened(await render(source, "image/png")).getpixel((20, 20))
    assert red < 10
    assert green > 245


async def test_a_broken_colour_profile_is_ignored(render: Render):
    source = encoded(scene(), "PNG", icc_profile=b"no profile")
    assert_alike(opened(await render(source, "image/png")), scene())


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
async def test_the_first_frame_is_shown(render: Render, kind: str):
    others = [Image.new("RGB", (400, 300), colour) for colour in ("black", "yellow")]
    source = encoded(scene(), kind, save_all=True, append_images=others)
    media_type = {v: k for k, v in FORMATS.items()}[kind]
    assert_alike(opened(await render(source, media_type)), scene())


async def test_the_first_page_of_a_pdf_is_shown(render: Render):
    source = pdf(
        "/MediaBox[0 0 400 300]", "/MediaBox[0 0 300 300]", content="0 0 1 rg 0 0 9 9 re f"
    )
    preview = await render(source, "application/pdf")
    assert (preview.width, preview.height) == (800, 600)
    assert opened(preview).getpixel((400, 100)) == (255, 255, 255)


async def test_a_rotated_pdf_page_is_shown_rotated(render: Render):
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
async def test_a_pdf_page_of_an_odd_size_fits(render: Render, box: str, shown: tuple[int, int]):
    preview = await render(pdf(f"/MediaBox[{box}]"), "application/pdf")
    assert (preview.width, preview.height) == shown


@pytest.mark.parametrize("box", ["0 0 0 0", "1e99 0 0 1e99", "0 0 nan inf", "0 0 100 1e38"])
async def test_a_pdf_page_without_a_real_size_is_shown_as_a_letter(render: Render, box: str):
    preview = await render(pdf(f"/MediaBox[{box}]"), "application/pdf")
    assert (preview.width, preview.height) == (618, 800)


# --- What is refused --------------------------------------------------------------------------


def bomb() -> bytes:
    return png(20_000, 20_000, 1, 0, (b"\0" + bytes(2_500)) * 20_000)


def frames(kind: str, number: int) -> bytes:
    pictures = [Image.new("L", (8, 8), shade) for shade in range(number)]
    return encoded(pictures[0], kind, save_all=True, append_images=pictures[1:])


@pytest.mark.parametrize(
    ("make", "media_type"),
    [
        (bomb, "image/png"),
        (lambda: png(8_000, 5_001, 1, 0, b""), "image/png"),
        (lambda: png(20_001, 1, 8, 0, b""), "image/png"),
        (lambda: frames("GIF", 101), "image/gif"),
        (lambda: frames("TIFF", 101), "image/tiff"),
        (lambda: pdf("/MediaBox[0 0 9 9]", *["/MediaBox[0 0 9 9]"] * 2_000), "application/pdf"),
    ],
    ids=["400 MP", "over 40 MP", "side over 20000", "101 frames", "101 pages", "2001 PDF pages"],
)
async def test_what_declares_too_much_is_refused_at_once(
    render: Render, make: Callable[[], bytes], media_type: str
):
    source = make()
    began = time.monotonic()
    with pytest.raises(PreviewFailed, match="over-limit"):
        await render(source, media_type)
    assert time.monotonic() - began < 5


async def test_an_image_of_40_megapixels_is_rendered(render: Render):
    source = encoded(Image.new("RGB", (8_000, 5_000), "red"), "JPEG")
    preview = await render(source, "image/jpeg")
    assert (preview.width, preview.height) == (800, 500)


@pytest.mark.parametrize("media_type", sorted(PREVIEWABLE_TYPES))
async def test_a_truncated_file_fails(render: Render, media_type: str):
    source = large_sample(media_type)
    with pytest.raises(PreviewFailed, match="broken"):
        await render(source[: len(source) // 2], media_type)


@pytest.mark.parametrize("media_type", sorted(PREVIEWABLE_TYPES))
@pytest.mark.parametrize("source", [b"", b"\0" * 4096], ids=["empty", "zeros"])
async def test_a_file_of_nothing_fails(render: Render, media_type: str, source: bytes):
    with pytest.raises(PreviewFailed, match="broken"):
        await render(source, media_type)


async def test_only_the_format_of_the_media_type_is_tried(render: Render):
    with pytest.raises(PreviewFailed, match="broken"):
        await render(encoded(scene(), "PNG"), "image/jpeg")


async def test_a_type_that_cannot_be_shown_fails(render: Render):
    with pytest.raises(PreviewFailed, match="unsupported-type"):
        await render(b"hello", "text/plain")


# --- Children that misbehave ------------------------------------------------------------------


def picture_of(body: str, **changes: object) -> str:
    """A script that answers with a body (an expression), under a header with some changes."""
    header = {"media_type": "image/jpeg", "width": 8, "height": 8, "length": None} | changes
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
    """Let asyncio run the callbacks with which closed pipes give back their descriptors."""
    for _ in range(3):
        await asyncio.sleep(0)


# Servers that other tests of the run use; they stay to its end.
SERVERS = {"postgres", "weed"}


def children() -> list[psutil.Process]:
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.name() not in SERVERS:
                found.append(process)
    return found


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 -- processes announce nothing
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("", "bad-output"),
        ("print('hello')", "bad-output"),
        ("import os; os.write(1, os.urandom(100_000))", "bad-output"),
        ("import os\nwhile True: os.write(1, b'x' * 65536)", "bad-output"),
        (picture_of("b'more than told'", length=4), "bad-output"),
        (picture_of("b'less than told'", length=10**9), "bad-output"),
        (picture_of("b'too wide'", width=201), "bad-output"),
        (picture_of("b'no size'", height=0), "bad-output"),
        (picture_of("b'size is no number'", height=True), "bad-output"),
        (picture_of("b'not what it says'", media_type="image/png"), "bad-output"),
        (picture_of("b'active content'", media_type="text/html"), "bad-output"),
        (picture_of("b'type is no text'", media_type=[]), "bad-output"),
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
        "list as header",
        "deep header",
        "exit code",
        "killed after the answer",
        "aborted",
        "forked",
        "out of CPU time",
    ],
)
async def test_a_child_that_misbehaves_is_a_failure(source: Path, script: str, reason: str):
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
async def test_a_child_out_of_time_is_killed_with_its_children(
    source: Path, script: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(renderer, "WALL_SECONDS", 0.5)
    began = time.monotonic()
    assert await failure(renderer_of(script), source) == "time-limit"
    assert time.monotonic() - began < 5
    assert children() == []


async def test_a_failure_leaves_no_process_descriptor_or_file(
    source: Path, monkeypatch: pytest.MonkeyPatch
):
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


async def test_cancelling_kills_the_child_and_its_children(source: Path):
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


async def test_cancelling_at_any_moment_leaves_nothing(source: Path):
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


async def test_no_more_children_than_allowed_run_at_once(source: Path):
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


async def test_a_failure_gives_its_place_back(source: Path):
    previews = renderer_of("")
    for _ in range(3):
        assert await failure(previews, source) == "bad-output"


# --- What could not be tried ------------------------------------------------------------------


async def test_a_missing_source_is_unavailable(tmp_path: Path):
    with pytest.raises(PreviewUnavailable):
        await PreviewRenderer().render(tmp_path / "gone", "image/png", PreviewSize.small)


async def test_a_command_that_cannot_start_is_unavailable(source: Path):
    previews = PreviewRenderer()
    previews._command = ("/nonexistent/python",)
    descriptors = psutil.Process().num_fds()
    with pytest.raises(PreviewUnavailable):
        await previews.render(source, "image/png", PreviewSize.small)
    await settled()
    assert psutil.Process().num_fds() == descriptors


@pytest.mark.parametrize("spare", range(6))
async def test_running_out_of_descriptors_is_unavailable(source: Path, spare: int):
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


async def test_missing_parsers_are_unavailable(source: Path):
    previews = PreviewRenderer()
    without_packages = ("-I", "-S", child.__file__)
    previews._command = (sys.executable, *without_packages)
    with pytest.raises(PreviewUnavailable):
        await previews.render(source, "image/png", PreviewSize.small)


# --- What the child sees ----------------------------------------------------------------------

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


async def test_the_child_sees_the_open_source_and_nothing_else(
    source: Path, monkeypatch: pytest.MonkeyPatch
):
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
    assert seen["arguments"][-2:] == ["PNG", "200"]
    assert seen["folder"] == "/"
    assert seen["leads_its_session"]


def test_under_uvloop_the_child_closes_what_it_inherits_and_lets_requests_go_first(source: Path):
    # uvloop ignores close_fds, and uvicorn makes its listening socket inheritable.
    closing = f"""
import sys
import threading
sys.path.insert(0, {str(Path(child.__file__).parent)!r})
import child
child.limit_resources("PNG")
child.ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # so that /proc/self can be read
"""
    previews = renderer_of(closing + REPORT + picture_of("json.dumps(report).encode()"))
    with socket.socket() as listener, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        listener.set_inheritable(True)
        seen = runner.run(report(previews, source))
    assert sorted(seen["descriptors"]) == ["0", "1", "2"]
    assert seen["niceness"] == os.nice(0) + child.NICENESS


def test_previews_work_and_fail_cleanly_under_uvloop(source: Path, monkeypatch: pytest.MonkeyPatch):
    source.write_bytes(encoded(scene(), "PNG"))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rendering = PreviewRenderer().render(source, "image/png", PreviewSize.small)
        assert runner.run(rendering).width == 200
        monkeypatch.setattr(renderer, "WALL_SECONDS", 0.5)
        hanging = renderer_of(FORK.format(closing="pass") + HANG)
        assert runner.run(failure(hanging, source)) == "time-limit"
    assert children() == []


async def test_a_killed_server_leaves_no_child(source: Path):
    child_script = f"""
import sys, time
sys.path.insert(0, {str(Path(child.__file__).parent)!r})
import child
child.limit_resources("PNG")
time.sleep(60)
"""
    server_script = f"""
import asyncio, sys
from pathlib import Path
sys.path.insert(0, {str(Path(docvault.__file__).parents[1])!r})
from docvault.rules.previews import PreviewSize
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
    """The status of a process, with a word of our own once it has given up new privileges."""
    text = Path(f"/proc/{pid}/status").read_bytes()
    return b"nonewprivs" if b"NoNewPrivs:\t1" in text else b""
