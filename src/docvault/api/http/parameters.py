"""Path parameters, and the checks of path and query parameters."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated
from uuid import UUID

from fastapi import Path, Request

from docvault.domain.customer_ids import CUSTOMER_ID_PATTERN
from docvault.errors import ErrorDetail, ValidationFailed

# In the path of every operation about one customer.
CUSTOMER_PATH = "/customers/{id}"

CustomerIdPath = Annotated[
    str,
    Path(
        alias="id",
        description="The host platform's id of the customer.",
        pattern=CUSTOMER_ID_PATTERN,
        examples=["c-1042"],
    ),
]
# Not validated: an impossible key is a 404 like any unknown one.
DocumentTypeKey = Annotated[
    str, Path(description="The stable key of the document type.", examples=["identity-card"])
]
ApiKeyId = Annotated[UUID, Path(alias="id", description="The id of the API key.")]
ErasureId = Annotated[UUID, Path(alias="id", description="The id of the erasure.")]
EventId = Annotated[UUID, Path(alias="id", description="The id of the event.")]
WebhookId = Annotated[UUID, Path(alias="id", description="The id of the webhook.")]
DeliveryId = Annotated[UUID, Path(description="The id of the delivery.")]
UploadId = Annotated[UUID, Path(description="The id of the upload.")]

# PostgreSQL cannot store NUL (F8); Starlette decodes invalid UTF-8 as U+FFFD.
_UNSAFE = re.compile("[\x00\ufffd]")


def check_path(request: Request) -> None:
    """Raise `ValidationFailed` for path parameters that PostgreSQL cannot compare (F8)."""
    errors = _unsafe(request.path_params.items())
    if errors:
        raise ValidationFailed(errors=errors)


def check_parameters(request: Request, known: Mapping[str, bool]) -> None:
    """Raise `ValidationFailed` for unknown, repeated or unusable query parameters.

    `known` maps each query parameter to whether it may be repeated.
    """
    counts = Counter(name for name, _ in request.query_params.multi_items())
    errors = [
        ErrorDetail("unknown-parameter", "Unknown parameter.", parameter=_printable(name))
        for name in counts
        if name not in known
    ]
    errors += [
        ErrorDetail("repeated-parameter", "Must not be repeated.", parameter=name)
        for name, count in counts.items()
        if count > 1 and not known.get(name, True)
    ]
    errors += _unsafe(request.query_params.multi_items())
    if errors:
        raise ValidationFailed(errors=errors)


def _unsafe(texts: Iterable[tuple[str, object]]) -> list[ErrorDetail]:
    return [
        ErrorDetail("unsafe-text", "Must be UTF-8 text without NUL.", parameter=_printable(name))
        for name, value in texts
        if _UNSAFE.search(str(value))
    ]


def _printable(name: str) -> str:
    return "".join(char for char in name[:100] if char.isprintable())
