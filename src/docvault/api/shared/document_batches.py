"""Several documents in one multipart body."""

from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import Response

from docvault.api.http.idempotency import replay_response
from docvault.api.http.responses import CACHE_CONTROL, JsonResponse
from docvault.api.http.uploads import (
    OVERHEAD_BYTES,
    PartLimits,
    ReceivedParts,
    parse_part,
    receive_parts,
)
from docvault.api.routing.requests import CustomerRequest
from docvault.api.shared.documents import UPLOAD_ERRORS
from docvault.errors import (
    AdminOnlyDocument,
    CustomerBeingErased,
    CustomerNotRegistered,
    DatabaseUnavailable,
    DocvaultError,
    ErrorDetail,
    FileTooLarge,
    IdempotencyKeyReused,
    PortalSectionDisabled,
    RateLimited,
    RequestInProgress,
    ServiceUnavailable,
    StorageUnavailable,
    ValidationFailed,
)
from docvault.schemas.document_batches import DOCUMENT_BATCH, MAX_FILES, DocumentBatchItem
from docvault.services.document_batches import Batch, BatchItem, replay_batch, save_batch

BATCH_PART = "batch"
FILES_PART = "files"
# The size limit of a whole batch, in files of the largest size.
MAX_BATCH_WEIGHT = 4

BATCH_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"$ref": "#/components/schemas/DocumentBatchUpload"},
                "encoding": {BATCH_PART: {"contentType": "application/json"}},
            }
        },
    }
}


# What a single item can fail with.
ITEM_ERRORS: tuple[type[DocvaultError], ...] = (
    *UPLOAD_ERRORS,
    AdminOnlyDocument,
    CustomerBeingErased,
    CustomerNotRegistered,
    DatabaseUnavailable,
    FileTooLarge,
    IdempotencyKeyReused,
    PortalSectionDisabled,
    RateLimited,
    RequestInProgress,
    ServiceUnavailable,
    StorageUnavailable,
    ValidationFailed,
)


async def save_document_batch(request: CustomerRequest) -> Response:
    """Save each item on its own and return the result of each (207)."""
    batch = Batch(request.resources, request.context, request.customer, request.claim)
    async with receive_parts(request, _limits(request)) as parts:
        request.fingerprint = parts.fingerprint()
        replay = request.claim.replay(request.fingerprint) if request.claim else None
        if replay is not None:
            return replay_response(await replay_batch(batch, replay))
        response = await save_batch(batch, _items(parts))
    return JsonResponse(response.body, response.status, {"Cache-Control": CACHE_CONTROL})


def _limits(request: CustomerRequest) -> PartLimits:
    largest = request.resources.settings.max_upload_bytes
    return PartLimits(
        max_files=MAX_FILES,
        max_file_bytes=largest,
        body_bytes=MAX_BATCH_WEIGHT * largest + OVERHEAD_BYTES,
        file_names=frozenset({FILES_PART}),
        value_names=frozenset({BATCH_PART}),
        is_batch=True,
    )


def _items(parts: ReceivedParts) -> list[BatchItem]:
    """Return the items with their files; each file belongs to exactly one item."""
    if BATCH_PART not in parts.values:
        raise ValidationFailed("The part `batch` is missing.", pointer=f"/{BATCH_PART}")
    batch = parse_part(DOCUMENT_BATCH, parts.values[BATCH_PART], BATCH_PART)
    files = [file for _, file in parts.files]
    errors = [*_key_errors(batch.items), *_file_errors(batch.items, len(files))]
    if errors:
        raise ValidationFailed(errors=errors)
    return [
        BatchItem(index, item.key, [files[n] for n in item.files], item.field_values or {})
        for index, item in enumerate(batch.items)
    ]


def _key_errors(items: Sequence[DocumentBatchItem]) -> Iterator[ErrorDetail]:
    """Find documents that several items name."""
    keys: set[str] = set()
    for index, item in enumerate(items):
        if item.key in keys:
            pointer = f"/{BATCH_PART}/items/{index}/key"
            yield ErrorDetail("repeated-key", "Duplicate key.", pointer=pointer)
        keys.add(item.key)


def _file_errors(items: Sequence[DocumentBatchItem], sent: int) -> Iterator[ErrorDetail]:
    """Find indexes without a file of their own, and files that no item refers to."""
    unused = set(range(sent))
    for index, item in enumerate(items):
        for number, file in enumerate(item.files):
            pointer = f"/{BATCH_PART}/items/{index}/files/{number}"
            if file >= sent:
                yield ErrorDetail("missing-file", "No such file was sent.", pointer=pointer)
            elif file not in unused:
                yield ErrorDetail("repeated-file", "The file is used twice.", pointer=pointer)
            unused.discard(file)
    for file in sorted(unused):
        yield ErrorDetail(
            "unused-file", "No item refers to the file.", pointer=f"/{FILES_PART}/{file}"
        )
