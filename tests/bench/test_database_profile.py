"""Profiles of PostgreSQL: the step of a sample."""

from bench.database_profile import read_stacks

TEXT = """\
          5590c0 ExecInsertIndexTuples
          5590c1 ExecModifyTable
          7f1234 plpgsql_exec_trigger

          5590c4 standard_ExecutorStart.isra.0
          5590c5 [unknown]

"""


def test_stack_has_functions_of_one_sample() -> None:
    first, second = read_stacks(TEXT)
    assert first == {"ExecInsertIndexTuples", "ExecModifyTable", "plpgsql_exec_trigger"}
    assert "standard_ExecutorStart" in second
