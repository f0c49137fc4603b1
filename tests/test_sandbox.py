"""What a child process can no longer do after limiting itself."""

import ctypes
import json
import subprocess
import sys
import textwrap

import pytest

LIMITED = """
    import json, os, resource, signal, socket, subprocess, sys, threading
    from docvault import sandbox
    sandbox.limit_resources(address_space=512 * 1024 * 1024)
    sandbox.forbid_system_calls()
"""


def output(script: str, before: str = LIMITED) -> object:
    """Return the JSON that a script prints in an isolated process with the limits."""
    finished = subprocess.run(
        [sys.executable, "-I", "-B", "-c", textwrap.dedent(before) + textwrap.dedent(script)],
        capture_output=True,
        check=False,
        timeout=20,
        env={},
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


def error_of(attempt: str) -> object:
    """Return the name of the OSError that an expression raises in a limited process, or none."""
    return output(f"""
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
def test_restricted_process_has_no_network_and_no_subprocesses(attempt: str) -> None:
    assert error_of(attempt) == "PermissionError"


def landlock_version() -> int:
    version: int = ctypes.CDLL(None).syscall(444, None, 0, 1)
    return version


@pytest.mark.skipif(landlock_version() < 1, reason="this kernel has no Landlock")
@pytest.mark.parametrize(
    "attempt",
    [
        "open(sandbox.__file__)",
        "open(f'/proc/{os.getppid()}/environ')",
        "open('/new', 'w')",
        "os.listdir('/')",
    ],
)
def test_restricted_process_cannot_open_files(attempt: str) -> None:
    assert error_of(attempt) == "PermissionError"


def test_restricted_process_cannot_write_files() -> None:
    assert error_of("os.write(os.memfd_create('memory'), b'x')") == "OSError"


def test_restricted_process_can_start_threads() -> None:
    seen = output("""
        results = []
        thread = threading.Thread(target=results.append, args=("ran",))
        thread.start()
        thread.join()
        print(json.dumps(results))
    """)
    assert seen == ["ran"]


def test_lower_existing_limit_is_kept() -> None:
    before = """
        import json, resource
        from docvault import sandbox
        resource.setrlimit(resource.RLIMIT_CPU, (3, 3))
    """
    seen = output(
        """
        sandbox.limit_resources(address_space=512 * 1024 * 1024, cpu_seconds=(10, 11))
        print(json.dumps(resource.getrlimit(resource.RLIMIT_CPU)))
        """,
        before,
    )
    assert seen == [3, 3]


def test_restricted_process_ignores_sigterm() -> None:
    before = """
        import json, os, signal
        from docvault import sandbox
        sandbox.limit_resources(address_space=512 * 1024 * 1024)
    """
    script = """
        os.kill(os.getpid(), signal.SIGTERM)
        print(json.dumps("alive"))
    """
    assert output(script, before) == "alive"
