"""JSON representations and their entity tags. Each model is rendered once."""

import hashlib
from dataclasses import dataclass

from pydantic import BaseModel


@dataclass(frozen=True, slots=True)
class Representation:
    """A response body in JSON, with its entity tag."""

    body: bytes
    etag: str


def represent(model: BaseModel) -> Representation:
    """Render a single resource."""
    body = model.model_dump_json().encode()
    return Representation(body, entity_tag(body))


def render(model: BaseModel) -> bytes:
    """Render a list or a computed result, without the members that were not set."""
    return model.model_dump_json(exclude_unset=True).encode()


def entity_tag(body: bytes) -> str:
    """Return the strong entity tag of a body."""
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'
