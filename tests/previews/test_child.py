"""The limits and imports of the child that renders previews; see also `test_sandbox`."""

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from docvault.previews import child

KINDS = ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "HEIF", "PDF"]


def run(script: str, *options: str) -> subprocess.CompletedProcess[bytes]:
    """Run a script that imports the child, isolated like the child itself."""
    prologue = (
        f"import sys; sys.path.insert(0, {str(Path(child.__file__).parent)!r}); import child\n"
    )
    return subprocess.run(
        [sys.executable, "-I", "-B", *options, "-c", prologue + textwrap.dedent(script)],
        capture_output=True,
        check=False,
        timeout=20,
        env={},
    )


def output(script: str) -> Any:
    finished = run(script)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def test_limits_match_design() -> None:
    seen = output("""
        import json, resource
        child.limits.limit_resources("JPEG", 200)
        names = ("CPU", "NOFILE", "FSIZE", "CORE", "AS")
        print(json.dumps({n: resource.getrlimit(getattr(resource, "RLIMIT_" + n)) for n in names}))
    """)
    mebibyte = 1024 * 1024
    assert seen == {
        "CPU": [10, 11],
        "NOFILE": [16, 16],
        "FSIZE": [0, 0],
        "CORE": [0, 0],
        "AS": [512 * mebibyte, 512 * mebibyte],
    }


@pytest.mark.parametrize(
    ("kind", "side", "seconds"),
    [("PDF", 200, 3), ("PDF", 800, 3), ("PDF", 1600, 10), ("HEIF", 200, 10)],
)
def test_small_page_previews_have_shorter_limit(kind: str, side: int, seconds: int) -> None:
    seen = output(f"""
        import json, resource
        child.limits.limit_resources("{kind}", {side})
        print(json.dumps(resource.getrlimit(resource.RLIMIT_CPU)))
    """)
    assert seen == [seconds, seconds + 1]


def test_memory_over_limit_raises_memory_error() -> None:
    seen = output("""
        import json
        child.limits.limit_resources("WEBP", 200)
        try:
            bytes(1024 ** 3)
            print(json.dumps("allocated"))
        except MemoryError:
            print(json.dumps("refused"))
    """)
    assert seen == "refused"


def test_cpu_time_over_limit_ends_child_with_sigxcpu() -> None:
    finished = run("""
        child.limits._CPU_SECONDS = 1
        child.limits.limit_resources("JPEG", 200)
        while True: pass
    """)
    assert finished.returncode == -signal.SIGXCPU


@pytest.mark.parametrize("kind", KINDS)
def test_only_parser_of_kind_is_loaded(kind: str) -> None:
    loaded = output(f"""
        import json
        child.load_parsers({kind!r})
        print(json.dumps(sorted(sys.modules)))
    """)
    assert ("pillow_heif" in loaded) == (kind == "HEIF")
    assert ("pypdfium2" in loaded) == (kind == "PDF")
    ours = {name for name in loaded if name.startswith("docvault")}
    assert all(
        name.startswith(("docvault.previews", "docvault.sandbox")) for name in ours - {"docvault"}
    )
    assert "asyncio" not in loaded


def test_missing_parsers_are_reported() -> None:
    finished = subprocess.run(
        [sys.executable, "-I", "-S", child.__file__, "PNG", "200", "1"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert (finished.returncode, finished.stdout) == (child.EXIT_NO_PARSER, b"")
