"""What the child that parses untrusted files may no longer do, and how it is limited."""

import ctypes
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from docvault.previews import child

KINDS = ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "HEIF", "PDF"]


def run(script: str, *options: str) -> subprocess.CompletedProcess[bytes]:
    """Run a script that has the child as a module, isolated as the child itself is."""
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


def output(script: str) -> object:
    finished = run(script)
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def error_of(attempt: str) -> object:
    """The name of the OSError that an expression raises in a child about to parse, or none."""
    return output(f"""
        import json, os, resource, socket, subprocess
        child.limit_resources("PNG")
        child.forbid_system_calls()
        try:
            {attempt}
            error = ""
        except OSError as caught:
            error = type(caught).__name__
        print(json.dumps(error))
    """)


@pytest.mark.parametrize(
    "attempt",
    [
        "socket.socket(socket.AF_INET)",
        "socket.socket(socket.AF_UNIX)",
        "socket.create_connection(('127.0.0.1', 9))",
        "os.fork()",
        "os.execv(sys.executable, ['python'])",
        "os.posix_spawn(sys.executable, ['python'], {})",
        "subprocess.run([sys.executable, '-V'])",
        "os.kill(os.getppid(), 0)",
        "resource.prlimit(os.getppid(), resource.RLIMIT_CPU)",
    ],
)
def test_a_parser_has_no_network_and_no_processes(attempt: str):
    assert error_of(attempt) == "PermissionError"


def landlock_version() -> int:
    version: int = ctypes.CDLL(None).syscall(444, None, 0, 1)
    return version


@pytest.mark.skipif(landlock_version() < 1, reason="this kernel has no Landlock")
@pytest.mark.parametrize(
    "attempt",
    [
        "open(child.__file__)",
        "open(f'/proc/{os.getppid()}/environ')",
        "open('/new', 'w')",
        "os.listdir('/')",
    ],
)
def test_a_parser_cannot_open_files(attempt: str):
    assert error_of(attempt) == "PermissionError"


def test_a_parser_cannot_write_to_any_file():
    assert error_of("os.write(os.memfd_create('memory'), b'x')") == "OSError"


def test_a_parser_can_still_start_threads():
    seen = output("""
        import json, threading
        child.limit_resources("HEIF")
        child.forbid_system_calls()
        answers = []
        thread = threading.Thread(target=answers.append, args=("ran",))
        thread.start()
        thread.join()
        print(json.dumps(answers))
    """)
    assert seen == ["ran"]


def test_the_limits_are_those_of_the_design():
    seen = output("""
        import json, resource
        child.limit_resources("JPEG")
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


def test_a_limit_already_lower_stays():
    seen = output("""
        import json, resource
        resource.setrlimit(resource.RLIMIT_CPU, (3, 3))
        child.limit_resources("JPEG")
        print(json.dumps(resource.getrlimit(resource.RLIMIT_CPU)))
    """)
    assert seen == [3, 3]


def test_memory_beyond_the_limit_is_refused():
    seen = output("""
        import json
        child.limit_resources("WEBP")
        try:
            bytes(1024 ** 3)
            print(json.dumps("allocated"))
        except MemoryError:
            print(json.dumps("refused"))
    """)
    assert seen == "refused"


def test_cpu_time_beyond_the_limit_ends_the_child_by_sigxcpu():
    finished = run("""
        child._LIMITS[child.resource.RLIMIT_CPU] = (1, 2)
        child.limit_resources("JPEG")
        while True: pass
    """)
    assert finished.returncode == -child.signal.SIGXCPU


def test_the_child_outlives_the_sigterm_of_a_service_manager():
    seen = output("""
        import json, os, signal
        child.limit_resources("JPEG")
        os.kill(os.getpid(), signal.SIGTERM)
        print(json.dumps("alive"))
    """)
    assert seen == "alive"


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_parser_of_the_kind_is_loaded(kind: str):
    loaded = output(f"""
        import json
        child.load_parsers({kind!r})
        print(json.dumps(sorted({{name.split(".")[0] for name in sys.modules}})))
    """)
    assert ("pillow_heif" in loaded) == (kind == "HEIF")
    assert ("pypdfium2" in loaded) == (kind == "PDF")
    assert "docvault" not in loaded
    assert "asyncio" not in loaded


def test_without_parsers_the_child_says_so():
    finished = subprocess.run(
        [sys.executable, "-I", "-S", child.__file__, "PNG", "200"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert (finished.returncode, finished.stdout) == (child.EXIT_NO_PARSER, b"")
