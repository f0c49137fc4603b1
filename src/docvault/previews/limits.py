"""What rendering one file may use: memory, CPU time and priority."""

import os

from docvault import sandbox

# Requests have priority over previews. With a higher value, a large picture would exceed its time
# limit on a busy machine.
NICENESS = 5

# At this limit the kernel sends SIGXCPU, which tells the parent why, and a second later SIGKILL.
# The time for an image is bounded by its pixels: 48 MP of HEIC take 4 s at any size. That for a PDF
# has no bound and grows with the picture, while a page that is one image of 17 MP takes 0.9 s.
_CPU_SECONDS = 10
_CPU_SECONDS_OF_SMALL_PAGES = 3
_SMALL_SIDE = 800
# MiB. The decoders of WebP and HEIC hold several copies of the picture: at 40 MP, 818 for lossless
# WebP and 512 for HEIC with transparency. `images` refuses others that would not fit.
_ADDRESS_SPACE = {"WEBP": 896, "HEIF": 640}
_ADDRESS_SPACE_OTHERWISE = 512
LARGEST_CHILD_BYTES = max(_ADDRESS_SPACE.values()) * 1024 * 1024


def limit_resources(kind: str, side: int) -> None:
    """Limit the resources for rendering a file of this kind."""
    os.nice(NICENESS)
    mebibytes = _ADDRESS_SPACE.get(kind, _ADDRESS_SPACE_OTHERWISE)
    seconds = _cpu_seconds(kind, side)
    sandbox.limit_resources(
        address_space=mebibytes * 1024 * 1024, cpu_seconds=(seconds, seconds + 1)
    )


def _cpu_seconds(kind: str, side: int) -> int:
    if kind == "PDF" and side <= _SMALL_SIDE:
        return _CPU_SECONDS_OF_SMALL_PAGES
    return _CPU_SECONDS
