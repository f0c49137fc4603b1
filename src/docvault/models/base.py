"""What every table shares: constraint names by convention, UUIDv7 keys, UTC times."""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import uuid_utils.compat
from sqlalchemy import Column, DateTime, MetaData, Text, Uuid
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.sql.base import ReadOnlyColumnCollection

# A convention, so that a violated constraint can be turned into a named conflict.
NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


def new_id() -> UUID:
    """Return a UUIDv7 (RFC 9562): unguessable enough for a row, ordered by time for an index."""
    return uuid_utils.compat.uuid7()


class Base(DeclarativeBase):
    """The declarative base. Rows are never serialised (D17)."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar = {
        str: Text(),
        UUID: Uuid(),
        datetime: DateTime(timezone=True),
    }


def columns(model: type[Base]) -> ReadOnlyColumnCollection[str, Column[Any]]:
    """Return the columns of a model's table, for the hot queries that want rows, not objects."""
    return model.metadata.tables[model.__tablename__].columns
