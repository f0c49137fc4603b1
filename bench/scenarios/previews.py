"""Previews of large pictures: time and memory of the child process, within its limits."""

import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pillow_heif
from PIL import Image

from bench.measure import Check, Contestant, Result, Sample, interleave
from bench.processes import MEBIBYTE
from bench.setup import Setup
from docvault.previews import child
from docvault.previews.renderer import WALL_SECONDS

TITLE = "Preview of 800 pixels of a large picture, in a process of its own"
TARGET = "a picture, within 15 s and the memory of the child"
SIZES = {48: (8_064, 6_048), 108: (12_000, 9_000), 200: (16_320, 12_240)}
SIDE = 800
# The mode, the format, and how it is saved.
_Kind = tuple[str, str, dict[str, object]]
KINDS: dict[str, _Kind] = {
    "JPEG": ("RGB", "JPEG", {"quality": 85}),
    "progressive JPEG": ("RGB", "JPEG", {"quality": 85, "progressive": True}),
    "PNG": ("RGB", "PNG", {"compress_level": 1}),
    "grey PNG": ("L", "PNG", {"compress_level": 1}),
    "fax TIFF": ("1", "TIFF", {"compression": "group4"}),
    "HEIC": ("RGB", "HEIF", {"quality": 60, "enc_params": {"preset": "ultrafast"}}),
    "WebP": ("RGB", "WEBP", {"quality": 70}),
}
# What takes more memory than the child has, or is not made by anything.
BEYOND = {
    ("progressive JPEG", 200),
    ("PNG", 200),
    *((kind, size) for kind in ("HEIC", "WebP") for size in (108, 200)),
}
# The peak of a process includes the memory of the one that started it; this one is small.
_LAUNCHER = """
import resource, subprocess, sys
null = subprocess.DEVNULL
subprocess.run(sys.argv[1:], stdout=null, stderr=null, env={}, check=True)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
"""
_TILE = 1_024
_SEED = 16


def measure(setup: Setup) -> Result:
    """Render each kind of picture in each size that it can have."""
    result = Result("previews", TITLE, TARGET)
    pillow_heif.register_heif_opener()
    folder = setup.folder("pictures")
    contestants = [
        Contestant(f"{kind}, {size} MP", _render(_save(folder, kind, size), KINDS[kind][1]))
        for size in list(SIZES)[: 1 if setup.quick else None]
        for kind in KINDS
        if (kind, size) not in BEYOND
    ]
    interleave(result, contestants, setup.rounds)
    slowest = max(result.median(one.name, "seconds") for one in contestants)
    result.checks.append(Check("the slowest", slowest, WALL_SECONDS, "lower", unit=" s"))
    return result


def _save(folder: Path, kind: str, size: int) -> Path:
    mode, encoder, options = KINDS[kind]
    path = folder / f"{kind}-{size}"
    picture = Image.new(mode, SIZES[size])
    # Smooth with some noise, like a photo.
    noise = Image.frombytes("L", (_TILE, _TILE), random.Random(_SEED).randbytes(_TILE * _TILE))
    ramp = Image.linear_gradient("L").resize((_TILE, _TILE))
    tile = Image.blend(noise, ramp, 0.97).convert(mode)
    for left in range(0, picture.width, _TILE):
        for top in range(0, picture.height, _TILE):
            picture.paste(tile, (left, top))
    picture.save(path, encoder, **options)
    return path


def _render(path: Path, kind: str) -> Callable[[], Sample]:
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER]
    command = [*launcher, sys.executable, "-I", "-B", child.__file__, kind, str(SIDE), "1"]

    def turn() -> Sample:
        started = time.perf_counter()
        with path.open("rb") as source:
            output = subprocess.run(command, stdin=source, stdout=subprocess.PIPE, check=True)
        seconds = time.perf_counter() - started
        cpu_seconds, peak_kib = map(float, output.stdout.split())
        return {
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
            "peak_mib": peak_kib * 1024 / MEBIBYTE,
        }

    return turn
