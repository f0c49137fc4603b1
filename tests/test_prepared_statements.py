"""Statements that are compiled once: their SQL, and what their parameters become."""

import pytest
from psycopg.types.json import Jsonb
from sqlalchemy import Integer, bindparam, column, select, table, text
from sqlalchemy.dialects.postgresql import JSONB

from docvault.prepared_statements import PreparedStatement

TABLE = table("things", column("id"), column("kind"))


def test_parameters_and_their_types_stand_in_the_sql() -> None:
    statement = PreparedStatement(text("SELECT :n").bindparams(bindparam("n", type_=Integer())))
    assert statement.sql == "SELECT %(n)s::INTEGER"
    assert statement.bind({"n": 3}) == {"n": 3}


def test_a_constant_of_the_statement_needs_no_parameter() -> None:
    statement = PreparedStatement(select(TABLE).where(TABLE.c.kind == "stored"))
    assert list(statement.bind({}).values()) == ["stored"]


def test_json_is_wrapped_for_psycopg() -> None:
    json = bindparam("values", type_=JSONB(none_as_null=True))
    statement = PreparedStatement(text("SELECT :values").bindparams(json))
    bound = statement.bind({"values": {"a": 1}})["values"]
    assert isinstance(bound, Jsonb)
    assert bound.obj == {"a": 1}
    assert statement.bind({"values": None}) == {"values": None}


def test_a_parameter_that_needs_wrapping_cannot_be_forgotten() -> None:
    statement = PreparedStatement(text("SELECT :v").bindparams(bindparam("v", type_=JSONB())))
    with pytest.raises(KeyError):
        statement.bind({})
