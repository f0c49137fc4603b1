"""Statements that are compiled once and then go to psycopg as they are.

SQLAlchemy writes them, so that columns and types stay checked, but does not send them: most
requests are one statement, of which its way to psycopg and back would be a large part (decision
0026).
"""

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy.dialects.postgresql.psycopg import PGDialectAsync_psycopg
from sqlalchemy.sql.elements import ClauseElement

_DIALECT = PGDialectAsync_psycopg()  # type: ignore[no-untyped-call]  # SQLAlchemy


class PreparedStatement:
    """The SQL of a statement, and what its parameters need."""

    def __init__(self, statement: ClauseElement) -> None:
        compiled = statement.compile(dialect=_DIALECT)
        self.sql = str(compiled)
        self._constants: Mapping[str, Any] = {
            name: value for name, value in compiled.params.items() if value is not None
        }
        self._processors: dict[str, Callable[[Any], Any]] = {}
        for name, parameter in getattr(compiled, "binds", {}).items():
            processor = parameter.type.dialect_impl(_DIALECT).bind_processor(_DIALECT)
            if processor is not None:
                self._processors[name] = processor

    def bind(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters as psycopg wants them; JSON is wrapped, for instance."""
        bound = {**self._constants, **parameters}
        for name, process in self._processors.items():
            bound[name] = process(bound[name])
        return bound
