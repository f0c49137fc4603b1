"""Profiles: whose a moment is."""

from collections import Counter

from bench.profiling import Profile, read_stacks

LOOP = ("run (docvault/server.py:1)", "run (asyncio/runners.py:2)")
GUARD = (*LOOP, "app (fastapi/routing.py:3)", "guarded (docvault/api/operations.py:4)")


def test_a_thread_that_waits_for_work_is_left_out() -> None:
    waiting = "run (threading.py:1);_worker (concurrent/futures/thread.py:81)"
    working = f"{waiting};run (concurrent/futures/thread.py:58);put (docvault/storage/s3.py:9)"
    assert list(read_stacks(f"{waiting} 7\n{working} 2\n")) == [(tuple(working.split(";")), 2)]


def test_a_moment_belongs_to_the_innermost_who_has_a_name() -> None:
    profile = Profile(
        Counter({(*GUARD, "execute (psycopg/cursor.py:5)", "dumps (json/__init__.py:6)"): 4})
    )
    assert profile.by_layer() == [("psycopg", 1.0)]


def test_what_starts_the_service_is_the_event_loop() -> None:
    assert Profile(Counter({LOOP: 4})).by_layer() == [("event loop and sockets", 1.0)]


def test_layers_of_docvault_are_told_apart() -> None:
    rows = (*GUARD, "rows (docvault/database.py:7)")
    assert Profile(Counter({GUARD: 3, rows: 1})).by_layer() == [
        ("docvault api", 0.75),
        ("docvault database", 0.25),
    ]


def test_a_function_has_all_that_it_calls_once() -> None:
    again = (*GUARD, "guarded (docvault/api/operations.py:8)")
    assert Profile(Counter({again: 1, LOOP: 1})).by_function() == [("api/operations: guarded", 0.5)]
