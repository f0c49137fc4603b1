"""Several documents in one multipart body."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import Response

from docvault import metrics
from docvault.api.calls import Call
from docvault.api.denials import DENIALS, record_denial
from docvault.api.idempotency_keys import replayed, stored
from docvault.api.problems import problem_of
from docvault.api.responses import json_response, resource_response
from docvault.api.uploads import (
    OVERHEAD_BYTES,
    PartLimits,
    ReceivedParts,
    parse_part,
    part_pointer,
    received_parts,
)
from docvault.api.views import document_view
from docvault.errors import (
    DocvaultError,
    ErrorDetail,
    Unavailable,
    ValidationFailed,
)
from docvault.rules.slots import Slot
from docvault.schemas.audit_events import AuditAction
from docvault.schemas.document_batches import (
    BATCH_ITEMS,
    DocumentBatchItem,
    DocumentBatchRead,
    DocumentBatchResult,
)
from docvault.schemas.documents import DocumentRead
from docvault.services import attachments, documents, uploads
from docvault.services.idempotency_keys import Claim, claim_key
from docvault.services.uploads import ReceivedFile, Submission

ITEMS_PART = "items"
MAX_BATCH_FILES = 40
# How many files of the largest size a whole batch may weigh.
MAX_BATCH_WEIGHT = 4

BATCH_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {"$ref": "#/components/schemas/DocumentBatchUpload"},
                "encoding": {ITEMS_PART: {"contentType": "application/json"}},
            }
        },
    }
}


async def save_batch(call: Call) -> Response:
    """Save each item in a transaction of its own and tell what became of each (207).

    With an idempotency key each item is done once, also when the batch as a whole is repeated
    after a part of it failed.
    """
    async with received_parts(call, _limits(call)) as parts:
        call.fingerprint = parts.fingerprint()
        replay = call.claim.replay(call.fingerprint) if call.claim else None
        if replay is not None:
            return replayed(replay)
        items = _items(parts)
        results = [await _save_item(call, item) for item in items]
    response = json_response(DocumentBatchRead(items=results), 207)
    if any(result.status >= Unavailable.status for result in results):
        await _give_back(call, call.claim)
    else:
        async with call.resources.unit(call.asker.access) as unit:
            await call.complete(call.asker.work(unit), stored(call.fingerprint, response))
    return response


@dataclass(frozen=True, slots=True)
class _Item:
    """One document of a batch, with its files."""

    index: int
    data: DocumentBatchItem
    files: list[ReceivedFile]


def _limits(call: Call) -> PartLimits:
    largest = call.resources.settings.max_upload_bytes
    return PartLimits(
        max_files=MAX_BATCH_FILES,
        max_file_bytes=largest,
        body_bytes=MAX_BATCH_WEIGHT * largest + OVERHEAD_BYTES,
        file_names=None,
        value_names=frozenset({ITEMS_PART}),
    )


def _items(parts: ReceivedParts) -> list[_Item]:
    """Return the items with their files; each file part belongs to exactly one item."""
    if ITEMS_PART not in parts.values:
        raise ValidationFailed("The part items is missing.", pointer=f"/{ITEMS_PART}")
    submitted = parse_part(BATCH_ITEMS, parts.values[ITEMS_PART], ITEMS_PART)
    errors = [*_item_complaints(submitted, parts), *_part_complaints(submitted, parts)]
    if errors:
        raise ValidationFailed(errors=errors)
    files = dict(parts.files)
    return [
        _Item(index, item, [files[name] for name in item.files])
        for index, item in enumerate(submitted)
    ]


def _item_complaints(
    submitted: list[DocumentBatchItem], parts: ReceivedParts
) -> Iterator[ErrorDetail]:
    """Find keys that are there twice, and names that lead to no file of the item's own."""
    keys: set[str] = set()
    left = {name for name, _ in parts.files}
    for index, item in enumerate(submitted):
        place = f"/{ITEMS_PART}/{index}"
        if item.key in keys:
            yield ErrorDetail("repeated-key", "The key is there twice.", pointer=f"{place}/key")
        keys.add(item.key)
        for number, name in enumerate(item.files):
            if name not in left:
                detail = "The part is not there, or named twice."
                yield ErrorDetail("missing-part", detail, pointer=f"{place}/files/{number}")
            left.discard(name)


def _part_complaints(
    submitted: list[DocumentBatchItem], parts: ReceivedParts
) -> Iterator[ErrorDetail]:
    """Find parts that belong to no item, and those that cannot be told apart."""
    named = {name for item in submitted for name in item.files}
    for name, count in Counter(name for name, _ in parts.files).items():
        if name not in named or count > 1:
            detail = "No item names this part, or it is there twice."
            yield ErrorDetail("unnamed-part", detail, pointer=part_pointer(name))


async def _save_item(call: Call, item: _Item) -> DocumentBatchResult:
    claim: Claim | None = None
    try:
        claim = await _claim_item(call, item)
        replay = claim.replay(call.fingerprint) if claim else None
        if replay is not None:
            document = DocumentRead.model_validate_json(replay.body)
            return _saved(item, replay.status, document)
        status, document = await _store(call, item, claim)
        return _saved(item, status, document)
    except DocvaultError as error:
        await _give_back(call, claim)
        if isinstance(error, DENIALS):
            await record_denial(call, AuditAction.DOCUMENT_UPLOAD, document_type=item.data.key)
        problem = problem_of(error, call.asker.request_id)
        metrics.PROBLEMS.labels(problem.code).inc()
        return DocumentBatchResult(key=item.data.key, status=error.status, problem=problem)


def _saved(item: _Item, status: int, document: DocumentRead) -> DocumentBatchResult:
    return DocumentBatchResult(key=item.data.key, status=status, document=document)


async def _claim_item(call: Call, item: _Item) -> Claim | None:
    """Claim a key of the item's own below the key of the batch."""
    if call.claim is None:
        return None
    key_id = call.resources.keyring.idempotency_id(call.claim.key_id.hex(), str(item.index))
    async with call.resources.unit(call.asker.access) as unit:
        return await claim_key(unit, key_id, call.customer.id)


async def _give_back(call: Call, claim: Claim | None) -> None:
    if claim is not None:
        await claim.release(call.resources, call.asker)


async def _store(call: Call, item: _Item, claim: Claim | None) -> tuple[int, DocumentRead]:
    """Save files with values, or values alone."""

    def respond(slot: Slot, created: bool) -> attachments.Reply[tuple[int, DocumentRead]]:
        view = document_view(call, slot)
        status = 201 if created else 200
        answer = stored(call.fingerprint, resource_response(call, view, status))
        completion = claim.completion(answer, call.customer.id) if claim else None
        return attachments.Reply((status, view), completion)

    values = item.data.field_values or {}
    if not item.files:
        return await _update_values(call, item, respond)
    async with call.resources.statements(call.asker.access) as unit:
        slot = await documents.authorise_write(call.asker.work(unit), call.customer, item.data.key)
    return await uploads.store_submission(
        call.resources,
        call.asker,
        call.customer,
        slot,
        Submission(item.files, values),
        precondition=_unconditionally,
        respond=respond,
    )


def _unconditionally(slot: Slot) -> None:
    """A batch has no preconditions."""


async def _update_values(
    call: Call, item: _Item, respond: attachments.Respond[tuple[int, DocumentRead]]
) -> tuple[int, DocumentRead]:
    async with call.resources.unit(call.asker.access) as unit:
        work = call.asker.work(unit)
        slot = await documents.lock_slot(work, call.customer, item.data.key)
        updated = await documents.update_field_values(
            work, call.customer, slot, item.data.field_values or {}
        )
        return await attachments.settle(work, respond(updated, False))
