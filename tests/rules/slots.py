"""Slots made up for the tests of rules, one by one or by hypothesis."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from docvault.rules.slots import FieldFacts, Slot, TypeFacts, UploadMode, VersionFacts

NOW = datetime(2024, 1, 1, tzinfo=UTC)
ID = UUID(int=0)


def type_facts(key: str = "t", **members: Any) -> TypeFacts:
    """Return an optional type without fields, but for the given members."""
    defaults: dict[str, Any] = {
        "id": ID,
        "name": key,
        "upload_mode": UploadMode.OPTIONAL,
        "collects_fields": False,
        "fields": (),
        "instructions": None,
        "accepted_media_types": None,
        "max_size_bytes": None,
        "max_files": 1,
        "position": 0,
        "archived": False,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return TypeFacts(key=key, **(defaults | members))


def slot(*, filled: bool = False, values: dict[str, str] | None = None, **members: Any) -> Slot:
    """Return a slot of a type with these members."""
    version = VersionFacts(ID, 1, NOW, "admin", "staff-1", {}, ())
    return Slot(type_facts(**members), version if filled else None, values or {})


field_facts = st.builds(
    FieldFacts, key=st.sampled_from("fgh"), label=st.just("L"), required=st.booleans()
)
field_values = st.dictionaries(
    st.sampled_from("fghi"), st.sampled_from(["", " ", "\t\r\n", "x", " x ", "\u00a0"])
)
slots = st.builds(
    slot,
    filled=st.booleans(),
    values=field_values,
    key=st.text("abc", min_size=1, max_size=3),
    upload_mode=st.sampled_from(UploadMode),
    collects_fields=st.booleans(),
    fields=st.lists(field_facts, unique_by=lambda field: field.key).map(tuple),
    archived=st.booleans(),
)
