"""The child process of `renderer`: one untrusted file on stdin, one small picture on stdout.

Usage: `child.py FORMAT SIDE`, where FORMAT is a Pillow format name or `PDF`, and SIDE the longest
side of the picture in pixels. It answers with one line of JSON (media_type, width, height, length)
and then `length` bytes of JPEG or PNG. It is run by its path and imports nothing of docvault, so
that it also starts where the package is not installed and pays for no other import.

The parsers are the part of docvault most likely to be taken over by a file. Limits come first,
then the imports, then `forbid_system_calls`, and only then is the first byte of the file read.
"""

# ruff: noqa: PLC0415 -- limits must hold before a parser is loaded; load only the one needed

from __future__ import annotations

import ctypes
import io
import json
import os
import resource
import signal
import struct
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, cast

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 40_000_000
MAX_SIDE = 20_000
MAX_FRAMES = 100
MAX_PAGES = 2_000
MAX_OUTPUT_BYTES = 8 * 1024 * 1024
# Requests come first, a preview can wait; more, and a large picture would not be done in time on
# a busy machine.
NICENESS = 5

EXIT_BROKEN = 65
EXIT_OVER_LIMIT = 66
EXIT_NO_PARSER = 69

# (soft, hard). At the soft CPU limit (s) comes SIGXCPU, which tells the parent why; at the hard
# one SIGKILL. No RLIMIT_NPROC: it counts all processes of the user, and the filter below is exact.
_LIMITS = {
    resource.RLIMIT_CPU: (10, 11),
    resource.RLIMIT_NOFILE: (16, 16),
    resource.RLIMIT_FSIZE: (0, 0),
    resource.RLIMIT_CORE: (0, 0),
}
# MiB. Measured at 40 MP: 818 for lossless WebP, whose decoder holds several copies of the picture,
# 512 for HEIC with transparency, at most 394 for everything else.
_ADDRESS_SPACE = {"WEBP": 896, "HEIF": 640}
_ADDRESS_SPACE_OTHERWISE = 512


class OverLimitError(Exception):
    """The file declares more pixels, frames or pages than a preview is made of."""


# --- Limits -----------------------------------------------------------------------------------


def limit_resources(kind: str) -> None:
    """Limit what rendering a file of this kind can use. Never raises a limit already lower."""
    _close_inherited_files()
    os.umask(0o077)
    os.nice(NICENESS)
    # A service manager that stops the server signals its children too: finish, do not fail.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for resource_kind, limits in _LIMITS.items():
        _lower(resource_kind, *limits)
    if sys.platform == "linux":
        address_space = _ADDRESS_SPACE.get(kind, _ADDRESS_SPACE_OTHERWISE) * 1024 * 1024
        _lower(resource.RLIMIT_AS, address_space, address_space)
        _limit_process()


def _close_inherited_files() -> None:
    # uvloop ignores close_fds, and uvicorn makes its listening socket inheritable. Not closerange:
    # without close_range(2) that makes a call for each possible number, a thousand million in some
    # containers.
    for name in os.listdir("/dev/fd"):  # noqa: PTH208 -- without importing pathlib
        if int(name) > sys.stderr.fileno():
            # The listing has a descriptor of its own, closed by now.
            with suppress(OSError):
                os.close(int(name))


def _lower(kind: int, soft: int, hard: int) -> None:
    present = resource.getrlimit(kind)[1]
    if present != resource.RLIM_INFINITY:
        soft, hard = min(soft, present), min(hard, present)
    resource.setrlimit(kind, (soft, hard))


def _limit_process() -> None:
    set_parent_death_signal, set_dumpable, set_no_new_privileges = 1, 4, 38
    libc = ctypes.CDLL(None)
    libc.prctl(set_parent_death_signal, signal.SIGKILL, 0, 0, 0)
    # RLIMIT_CORE does not hold for a core handler behind a pipe (core(5)); this does.
    libc.prctl(set_dumpable, 0, 0, 0, 0)
    libc.prctl(set_no_new_privileges, 1, 0, 0, 0)


# --- No files, no network, no processes -------------------------------------------------------


class _Machine(NamedTuple):
    """What a seccomp filter needs to know of a machine (linux/audit.h, asm/unistd.h)."""

    audit: int
    clone: int
    refused: tuple[int, ...]


# Refused: socket, fork, vfork, execve, execveat, ptrace, process_vm_readv, process_vm_writev,
# kill, tkill, tgkill, prlimit64 (the server runs as the same user).
_MACHINES = {
    "x86_64": _Machine(0xC000003E, 56, (41, 57, 58, 59, 322, 101, 310, 311, 62, 200, 234, 302)),
    "aarch64": _Machine(0xC00000B7, 220, (198, 221, 281, 117, 270, 271, 129, 130, 131, 261)),
}
# The same everywhere: pidfd_send_signal, io_uring_setup, pidfd_getfd.
_REFUSED_EVERYWHERE = (424, 425, 438)
_CLONE3 = 435
_CLONE_THREAD = 0x00010000
_X32_CALLS = 0x40000000

_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_EPERM, _ENOSYS = 1, 38


def forbid_system_calls() -> None:
    """Take away what a parser does not need: opening files, sockets, other processes.

    Best effort: Landlock needs Linux 5.13, the filter a machine of the table. A network namespace
    would be the other way to have no network, but containers seldom let a process make one.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        _forbid_files(libc)
        _forbid_network_and_processes(libc)


def _forbid_files(libc: ctypes.CDLL) -> None:
    """Enter a Landlock domain without any rule: open files stay usable, nothing else opens."""
    create_ruleset, restrict_self, version_flag = 444, 446, 1
    version = libc.syscall(create_ruleset, None, 0, version_flag)
    if version < 1:
        return
    rights = struct.pack("Q", (1 << {1: 13, 2: 14}.get(version, 15)) - 1)
    ruleset = libc.syscall(create_ruleset, rights, len(rights), 0)
    if ruleset < 0:
        return
    libc.syscall(restrict_self, ruleset, 0)
    os.close(ruleset)


def _forbid_network_and_processes(libc: ctypes.CDLL) -> None:
    machine = _MACHINES.get(os.uname().machine)
    if machine is None:
        return
    set_seccomp, filter_mode = 22, 2
    program = b"".join(_filter(machine))
    instructions = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HP", len(program) // 8, ctypes.addressof(instructions))
    libc.prctl(set_seccomp, filter_mode, header, 0, 0)


def _filter(machine: _Machine) -> list[bytes]:
    """A classic BPF program over struct seccomp_data (seccomp(2))."""
    number, architecture, first_argument = 0, 4, 16
    program = [
        _load(architecture),
        _jump_if_equal(machine.audit, 1, 0),
        _answer_with(_KILL),
        _load(number),
        _jump_if_at_least(_X32_CALLS, 0, 1),
        _answer_with(_KILL),
    ]
    for call in (*machine.refused, *_REFUSED_EVERYWHERE):
        program += [_jump_if_equal(call, 0, 1), _answer_with(_ERRNO | _EPERM)]
    # clone3 hides its flags behind a pointer; told that it is missing, libc falls back to clone.
    program += [_jump_if_equal(_CLONE3, 0, 1), _answer_with(_ERRNO | _ENOSYS)]
    program += [
        _jump_if_equal(machine.clone, 0, 3),
        _load(first_argument),
        _jump_if_any_bit(_CLONE_THREAD, 1, 0),
        _answer_with(_ERRNO | _EPERM),
        _answer_with(_ALLOW),
    ]
    return program


def _instruction(code: int, if_true: int, if_false: int, value: int) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def _load(offset: int) -> bytes:
    return _instruction(0x20, 0, 0, offset)


def _jump_if_equal(value: int, if_true: int, if_false: int) -> bytes:
    return _instruction(0x15, if_true, if_false, value)


def _jump_if_at_least(value: int, if_true: int, if_false: int) -> bytes:
    return _instruction(0x35, if_true, if_false, value)


def _jump_if_any_bit(mask: int, if_true: int, if_false: int) -> bytes:
    return _instruction(0x45, if_true, if_false, mask)


def _answer_with(action: int) -> bytes:
    return _instruction(0x06, 0, 0, action)


# --- Parsers ----------------------------------------------------------------------------------


def load_parsers(kind: str) -> None:
    """Import all that rendering `kind` will import, since no file opens afterwards."""
    import copy  # noqa: F401 -- by Pillow's GIF decoder

    from PIL import Image, ImageCms, MpoImagePlugin, TiffImagePlugin, WebPImagePlugin  # noqa: F401

    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    Image.preinit()
    if kind == "HEIF":
        import pillow_heif

        # An embedded thumbnail may show something else than the image that it stands for.
        pillow_heif.register_heif_opener(
            thumbnails=False, depth_images=False, aux_images=False, decode_threads=1
        )
    elif kind == "PDF":
        import pypdfium2  # noqa: F401


def render(source: BinaryIO, kind: str, side: int) -> Image.Image:
    """The picture of a file: upright, in sRGB, mode L, RGB or RGBA, at most `side` pixels long.

    Raises OverLimitError for what declares too much, and any Exception for what is broken.
    """
    return _render_page(source, side) if kind == "PDF" else _render_image(source, kind, side)


def _render_image(source: BinaryIO, kind: str, side: int) -> Image.Image:
    from PIL import Image

    try:
        image = Image.open(source, formats=(kind,))
    except Image.DecompressionBombError:
        raise OverLimitError from None
    _check_size(image.size)
    if getattr(image, "n_frames", 1) > MAX_FRAMES:
        raise OverLimitError
    if kind == "JPEG":
        # Decodes at 1/2, 1/4 or 1/8, as long as that leaves twice the pixels needed.
        image.draft(None, (2 * side, 2 * side))
    image.load()
    # An HEIC file is known by its real size only now.
    _check_size(image.size)
    profile = image.info.get("icc_profile")
    upright = _turn(_shrink(_averageable(image), side), _orientation(image))
    return _plain(_to_srgb(upright, profile))


def _check_size(size: tuple[int, int]) -> None:
    width, height = size
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise OverLimitError


def _averageable(image: Image.Image) -> Image.Image:
    """The image in a mode whose pixel values can be averaged; itself, not a copy, if it can."""
    if image.mode.startswith(("I", "F")):
        return image
    if image.mode in {"L", "LA", "RGB", "RGBA", "CMYK"} and "transparency" not in image.info:
        return image
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image.convert("L" if image.mode == "1" else "RGB")


def _shrink(image: Image.Image, side: int) -> Image.Image:
    from PIL import Image

    factor = min(1.0, side / max(image.size))
    width, height = (max(1, round(length * factor)) for length in image.size)
    # Pillow reduces no 16-bit image (ValueError "image has wrong mode").
    gap = None if image.mode.startswith("I;16") else 2.0
    return image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=gap)


def _orientation(image: Image.Image) -> int:
    # TIFF and HEIC are turned by their decoders, which then take the tag away.
    with suppress(Exception):
        return int(image.getexif().get(0x0112, 1))
    return 1


def _turn(image: Image.Image, orientation: int) -> Image.Image:
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    from PIL import ImageCms

    if profile:
        # A profile that is broken or of another colour space says nothing.
        with suppress(Exception):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            mode = "RGBA" if image.mode == "RGBA" else "RGB"
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode=mode
            )
            return converted or image
    return image


def _plain(image: Image.Image) -> Image.Image:
    """The image in mode L, RGB, or RGBA where something can be seen through."""
    if image.mode.startswith(("I", "F")):
        return _to_8_bits(image)
    if image.mode in {"LA", "RGBA"} and image.getchannel("A").getextrema() != (255, 255):
        return image.convert("RGBA")
    return image.convert("L" if image.mode in {"L", "LA"} else "RGB")


def _to_8_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits is scaled; of 32 bits, whose white is not defined, stretched."""
    wide = image.convert("F")
    low, high = cast("tuple[float, float]", wide.getextrema())
    if image.mode.startswith("I;16"):
        low, high = 0, 65535
    scale = 255 / (high - low) if high > low else 0
    return wide.point(lambda value: value * scale + (0.5 - low * scale)).convert("L")


def _render_page(source: BinaryIO, side: int) -> Image.Image:
    """The first page on white. There is no form environment, so no script and no action runs."""
    import pypdfium2
    from pypdfium2 import raw

    document = pypdfium2.PdfDocument(source)
    if len(document) > MAX_PAGES:
        raise OverLimitError
    page = document[0]
    factor = side / max(page.get_size())
    # Not page.render(scale), which rounds up and so may be a pixel too long.
    width, height = (min(side, max(1, round(length * factor))) for length in page.get_size())
    bitmap = pypdfium2.PdfBitmap.new_native(width, height, raw.FPDFBitmap_BGRx)
    bitmap.fill_rect((255, 255, 255, 255), 0, 0, width, height)
    raw.FPDF_RenderPageBitmap(bitmap, page, 0, 0, width, height, 0, raw.FPDF_ANNOT)
    picture: Image.Image = bitmap.to_pil().convert("RGB")
    return picture


# --- Output -----------------------------------------------------------------------------------


def encode(picture: Image.Image) -> tuple[str, bytes]:
    """The picture as (media type, bytes) without metadata: JPEG, or PNG if it is transparent."""
    picture.info = {}
    if picture.mode == "RGBA":
        body = _saved(picture, "PNG")
        if len(body) <= MAX_OUTPUT_BYTES:
            return "image/png", body
        picture = _on_white(picture)
    return "image/jpeg", _saved(picture, "JPEG", quality=80)


def _saved(picture: Image.Image, kind: str, **options: int) -> bytes:
    output = io.BytesIO()
    picture.save(output, kind, **options)
    return output.getvalue()


def _on_white(picture: Image.Image) -> Image.Image:
    from PIL import Image

    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


def _answer(kind: str, side: int) -> int:
    try:
        picture = render(sys.stdin.buffer, kind, side)
        media_type, body = encode(picture)
    except (OverLimitError, MemoryError):
        return EXIT_OVER_LIMIT
    except Exception:  # noqa: BLE001 -- parsers raise what they like, SyntaxError too
        return EXIT_BROKEN
    width, height = picture.size
    header = {"media_type": media_type, "width": width, "height": height, "length": len(body)}
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + body)
    sys.stdout.buffer.flush()
    return 0


def main() -> int:
    """Render stdin as told by the arguments; the result is the exit code."""
    kind, side = sys.argv[1], int(sys.argv[2])
    limit_resources(kind)
    try:
        load_parsers(kind)
    except ImportError:
        return EXIT_NO_PARSER
    forbid_system_calls()
    return _answer(kind, side)


if __name__ == "__main__":
    # Without the interpreter's own tidying up, which takes time and can only go wrong.
    os._exit(main())
