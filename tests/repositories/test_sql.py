"""The SQL files of the repositories."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest

import docvault.repositories.unit_of_work  # noqa: F401 - loads every statement
from docvault.db.prepared_statements import NoRow, PreparedStatement
from docvault.repositories.customer_pages import ListedCustomer
from docvault.repositories.sql import load_statement, read_sql

# psycopg parses longer statements again for every execution.
MAX_CACHED_LENGTH = 4096
PACKAGE = "docvault.repositories."


def statements() -> Iterator[PreparedStatement[Any]]:
    """Yield the statements that the modules of repositories hold, alone or in a dictionary."""
    modules = [module for name, module in sys.modules.items() if name.startswith(PACKAGE)]
    for value in [value for module in modules for value in vars(module).values()]:
        candidates = value.values() if isinstance(value, dict) else [value]
        yield from (found for found in candidates if isinstance(found, PreparedStatement))


class TestLoadStatement:
    """load_statement()."""

    def test_comments_and_indentation_are_removed(self) -> None:
        sql = load_statement("find_document_types", NoRow).sql
        assert "--" not in sql
        assert "  " not in sql

    def test_hot_statements_fit_psycopg_cache(self) -> None:
        hot = [found.sql for found in statements() if found._record is not ListedCustomer]
        assert len(hot) > 15
        assert max(map(len, hot)) <= MAX_CACHED_LENGTH


class TestReadSql:
    """read_sql()."""

    def test_placeholder_is_part_or_fragment(self) -> None:
        sql = read_sql(
            "count_matching_customers", matches_documents="A", matches_search="B", matches_tags="C"
        )
        assert "AND A AND B AND C" in sql
        assert "document_types.key AS type_key" in read_sql("list_document_types")

    def test_unknown_placeholder_is_rejected(self) -> None:
        with pytest.raises(FileNotFoundError):
            read_sql("candidates/by_search")
