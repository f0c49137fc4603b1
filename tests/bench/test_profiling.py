"""Profiles: the owner of a sample."""

from collections import Counter

from bench.profiling import Profile, read_stacks

LOOP = ("run (docvault/server/serve.py:1)", "run (asyncio/runners.py:2)")
GUARD = (*LOOP, "app (fastapi/routing.py:3)", "guarded (docvault/api/routing/operation.py:4)")


def test_idle_thread_is_excluded() -> None:
    waiting = "run (threading.py:1);_worker (concurrent/futures/thread.py:81)"
    working = f"{waiting};run (concurrent/futures/thread.py:58);put (docvault/storage/s3.py:9)"
    assert list(read_stacks(f"{waiting} 7\n{working} 2\n")) == [(tuple(working.split(";")), 2)]


def test_sample_is_attributed_to_innermost_known_frame() -> None:
    profile = Profile(
        Counter({(*GUARD, "execute (psycopg/cursor.py:5)", "dumps (json/__init__.py:6)"): 4})
    )
    assert profile.by_layer() == [("psycopg", 1.0)]


def test_startup_frames_are_event_loop() -> None:
    assert Profile(Counter({LOOP: 4})).by_layer() == [("event loop and sockets", 1.0)]


def test_docvault_layers_are_distinguished() -> None:
    rows = (*GUARD, "rows (docvault/db/engine.py:7)")
    assert Profile(Counter({GUARD: 3, rows: 1})).by_layer() == [
        ("docvault api", 0.75),
        ("docvault db", 0.25),
    ]


def test_recursive_function_is_counted_once() -> None:
    again = (*GUARD, "guarded (docvault/api/routing/operation.py:8)")
    assert Profile(Counter({again: 1, LOOP: 1})).by_function() == [
        ("api/routing/operation: guarded", 0.5)
    ]
