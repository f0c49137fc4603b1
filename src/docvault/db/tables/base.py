"""Common to all tables: naming convention of constraints, UUIDv7 keys, UTC timestamps."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import Column, Computed, DateTime, Integer, MetaData, Text, Uuid
from sqlalchemy.orm import DeclarativeBase, MappedColumn, mapped_column
from sqlalchemy.sql.base import ReadOnlyColumnCollection

# Known names, so that a violated constraint can be mapped to a conflict error.
NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


def new_id() -> UUID:
    """Return a UUIDv7 (RFC 9562): hard to guess, and ordered by time for the index."""
    return uuid_utils.compat.uuid7()


class Base(DeclarativeBase):
    """The declarative base. Rows are never serialised to clients (D17)."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar = {
        str: Text(),
        UUID: Uuid(),
        datetime: DateTime(timezone=True),
    }


def size_of_values(expression: str, *, nullable: bool = False) -> MappedColumn[Any]:
    """Return a generated column with the size of field values, so that sums do not read them."""
    size = Computed(f"octet_length(({expression})::text)", persisted=True)
    return mapped_column(Integer, size, nullable=nullable, deferred=True)


def columns(model: type[Base]) -> ReadOnlyColumnCollection[str, Column[Any]]:
    """Return the columns of a table, for queries that return rows instead of objects."""
    return model.metadata.tables[model.__tablename__].columns
