"""Limits that a child process sets for itself before it reads an untrusted file.

Used by the child processes of `previews` and `inspection`. Each imports everything it will need,
calls `limit_resources` and `forbid_system_calls`, and only then reads the first byte. This module
has few imports, since a child process is started for each preview.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
import sys
from contextlib import suppress
from typing import NamedTuple

# (soft, hard). Not RLIMIT_NPROC, which counts all processes of the user; the filter below is exact.
_LIMITS = {
    resource.RLIMIT_NOFILE: (16, 16),
    resource.RLIMIT_FSIZE: (0, 0),
    resource.RLIMIT_CORE: (0, 0),
}


def limit_resources(*, address_space: int, cpu_seconds: tuple[int, int] | None = None) -> None:
    """Limit open files, written files, core dumps, address space (bytes) and CPU time (soft, hard).

    Limits that are already lower are kept.
    """
    _close_inherited_files()
    os.umask(0o077)
    # A service manager that stops the server also signals its children; they should finish.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for kind, limits in _LIMITS.items():
        _lower(kind, *limits)
    if cpu_seconds is not None:
        _lower(resource.RLIMIT_CPU, *cpu_seconds)
    if sys.platform == "linux":
        _lower(resource.RLIMIT_AS, address_space, address_space)
        _limit_process()


def _close_inherited_files() -> None:
    # uvloop ignores close_fds, and uvicorn makes its listening socket inheritable. Not closerange:
    # without close_range(2) that makes a system call for each possible number, a billion in some
    # containers.
    for name in os.listdir("/dev/fd"):  # noqa: PTH208 -- without importing pathlib
        if int(name) > sys.stderr.fileno():
            # The descriptor of the listing itself is already closed.
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
    # RLIMIT_CORE has no effect on a core handler behind a pipe (core(5)); this has.
    libc.prctl(set_dumpable, 0, 0, 0, 0)
    libc.prctl(set_no_new_privileges, 1, 0, 0, 0)


# --- No files, no network, no processes -------------------------------------------------------


class _Machine(NamedTuple):
    """The numbers for a seccomp filter on an architecture (linux/audit.h, asm/unistd.h)."""

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
    """Forbid what a parser does not need: opening files, sockets, other processes.

    Best effort: Landlock needs Linux 5.13, and the filter an architecture of the table. A network
    namespace would be another way to forbid the network, but containers seldom allow creating one.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        _forbid_files(libc)
        _forbid_network_and_processes(libc)


def _forbid_files(libc: ctypes.CDLL) -> None:
    """Enter a Landlock domain without rules: open files stay usable, no other can be opened."""
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
    program = b"".join(_build_filter(machine))
    instructions = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HP", len(program) // 8, ctypes.addressof(instructions))
    libc.prctl(set_seccomp, filter_mode, header, 0, 0)


def _build_filter(machine: _Machine) -> list[bytes]:
    """Return a classic BPF program over struct seccomp_data (seccomp(2))."""
    number, architecture, first_argument = 0, 4, 16
    program = [
        _load(architecture),
        _jump_if_equal(machine.audit, 1, 0),
        _return_action(_KILL),
        _load(number),
        _jump_if_at_least(_X32_CALLS, 0, 1),
        _return_action(_KILL),
    ]
    for call in (*machine.refused, *_REFUSED_EVERYWHERE):
        program += [_jump_if_equal(call, 0, 1), _return_action(_ERRNO | _EPERM)]
    # clone3 passes its flags by a pointer; with ENOSYS, libc falls back to clone.
    program += [_jump_if_equal(_CLONE3, 0, 1), _return_action(_ERRNO | _ENOSYS)]
    program += [
        _jump_if_equal(machine.clone, 0, 3),
        _load(first_argument),
        _jump_if_any_bit(_CLONE_THREAD, 1, 0),
        _return_action(_ERRNO | _EPERM),
        _return_action(_ALLOW),
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


def _return_action(action: int) -> bytes:
    return _instruction(0x06, 0, 0, action)
