"""Saving several documents in one request, each in a transaction of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from docvault.context import RequestContext
from docvault.domain.actors import CustomerActor
from docvault.domain.audit import AuditAction
from docvault.domain.customers import Customer
from docvault.domain.documents import Document
from docvault.domain.field_values import FieldValueChanges
from docvault.domain.idempotency import StoredResponse
from docvault.domain.rate_limits import Limit
from docvault.errors import DocvaultError, RateLimited, ServiceUnavailable
from docvault.observability import metrics
from docvault.presenters.documents import present_public_document
from docvault.presenters.problems import present_problem
from docvault.presenters.representation import render
from docvault.schemas.document_batches import DocumentBatchRead, DocumentBatchResult
from docvault.schemas.documents import DocumentRead
from docvault.services import documents
from docvault.services.audit_events import AUDITED_REFUSALS, record_denial
from docvault.services.idempotency_keys import Claim, claim_key, release_claim, store_response
from docvault.services.resources import Resources
from docvault.services.saved_documents import SavedDocument, SaveTarget, saved_document
from docvault.services.uploads import ReceivedFile, Submission, save_submission


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One document of a batch: its files, or field values alone."""

    index: int
    key: str
    files: Sequence[ReceivedFile]
    field_values: FieldValueChanges


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch of one customer; `claim` is that of the request as a whole."""

    resources: Resources
    context: RequestContext
    customer: Customer
    claim: Claim | None


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The result of one item, and whether this request changed anything for it."""

    result: DocumentBatchResult
    is_changed: bool

    @property
    def may_succeed_later(self) -> bool:
        """Whether a retry of the item makes sense."""
        status = self.result.status
        return status == RateLimited.status or status >= ServiceUnavailable.status


async def save_batch(batch: Batch, items: Sequence[BatchItem]) -> StoredResponse:
    """Save each item in a transaction of its own; return the response with all results.

    With an idempotency key each item is executed once, even if the batch is retried because
    some of its items failed. Raises `RateLimited` before anything is stored.
    """
    await _count_files(batch, sum(len(item.files) for item in items))
    outcomes = [await _save_item(batch, item) for item in items]
    response = StoredResponse(
        batch.claim.fingerprint if batch.claim else b"",
        207,
        {},
        render(DocumentBatchRead(items=[outcome.result for outcome in outcomes])),
    )
    if batch.claim is not None:
        is_changed = any(outcome.is_changed for outcome in outcomes)
        if is_changed and not any(outcome.may_succeed_later for outcome in outcomes):
            async with batch.resources.transaction(batch.context) as uow:
                await store_response(uow, batch.claim.completion(response, batch.customer.id))
        else:
            await batch.claim.release(batch.resources, batch.context)
    return response


async def replay_batch(batch: Batch, stored: StoredResponse) -> StoredResponse:
    """Return a stored response, with a problem for each document that is now read-only."""
    read = DocumentBatchRead.model_validate_json(stored.body)
    items = [
        result if result.document is None else await _check_replayed(batch, result)
        for result in read.items
    ]
    if items == read.items:
        return stored
    return replace(stored, body=render(DocumentBatchRead(items=items)))


async def _check_replayed(batch: Batch, result: DocumentBatchResult) -> DocumentBatchResult:
    try:
        await _authorize(batch, result.key)
    except DocvaultError as error:
        return await _refuse(batch, result.key, error)
    return result


async def _count_files(batch: Batch, number: int) -> None:
    """Count each file as an upload; the guard has counted the request as the first."""
    actor = batch.context.actor
    if number > 1 and isinstance(actor, CustomerActor):
        async with batch.resources.autocommit(batch.context) as uow:
            await batch.resources.rate_limits.hit_shared(
                uow, Limit.CUSTOMER_UPLOADS, [actor.external_id], requests=number - 1
            )


async def _count_value_change(batch: Batch) -> None:
    """Count an item without files like a PATCH; the batch itself was counted as an upload."""
    limits, external_id = batch.resources.rate_limits, batch.customer.external_id
    limits.hit_local(Limit.CUSTOMER_VALUE_CHANGES, external_id)
    async with batch.resources.autocommit(batch.context) as uow:
        await limits.hit_shared(uow, Limit.CUSTOMER_VALUE_CHANGES, [external_id])


async def _save_item(batch: Batch, item: BatchItem) -> _Outcome:
    claim: Claim | None = None
    try:
        claim = await _claim_item(batch, item)
        if claim and batch.claim and (stored := claim.replay(batch.claim.fingerprint)):
            await _authorize(batch, item.key)
            document = DocumentRead.model_validate_json(stored.body)
            result = DocumentBatchResult(
                key=item.key, status=stored.status, document=document, problem=None
            )
            return _Outcome(result, is_changed=False)
        return await _execute(batch, item, SaveTarget(batch.customer, item.key, claim=claim))
    except DocvaultError as error:
        if claim is not None:
            await claim.release(batch.resources, batch.context)
        return _Outcome(await _refuse(batch, item.key, error), is_changed=False)


async def _claim_item(batch: Batch, item: BatchItem) -> Claim | None:
    """Claim a key for the item, derived from that of the batch."""
    if batch.claim is None:
        return None
    keyring = batch.context.keyring
    key_ids = keyring.idempotency_ids(batch.claim.key_id.hex(), str(item.index))
    async with batch.resources.transaction(batch.context) as uow:
        return await claim_key(uow, batch.context, key_ids, batch.customer.id)


async def _authorize(batch: Batch, key: str) -> Document:
    async with batch.resources.autocommit(batch.context) as uow:
        return await documents.authorize_write(uow, batch.customer, key)


async def _execute(batch: Batch, item: BatchItem, target: SaveTarget) -> _Outcome:
    """Save files with values, or values alone."""
    if not item.files:
        return await _update_values(batch, item, target)
    document = await _authorize(batch, item.key)
    submission = Submission(item.files, item.field_values)
    saved = await save_submission(batch.resources, batch.context, target, document, submission)
    return _Outcome(_present(batch, saved), is_changed=True)


async def _update_values(batch: Batch, item: BatchItem, target: SaveTarget) -> _Outcome:
    await _count_value_change(batch)
    async with batch.resources.transaction(batch.context) as uow:
        document, is_changed = await documents.update_field_values(uow, target, item.field_values)
        saved = saved_document(document, batch.context, created=False)
        if is_changed:
            await store_response(uow, saved.completion(target.claim, batch.customer.id))
        else:
            await release_claim(uow, target.claim)
    return _Outcome(_present(batch, saved), is_changed=is_changed)


def _present(batch: Batch, saved: SavedDocument) -> DocumentBatchResult:
    document = present_public_document(saved.document, batch.context)
    return DocumentBatchResult(
        key=document.type.key, status=saved.status, document=document, problem=None
    )


async def _refuse(batch: Batch, key: str, error: DocvaultError) -> DocumentBatchResult:
    context = batch.context
    if isinstance(error, AUDITED_REFUSALS):
        denial = context.audit_event(
            AuditAction.DOCUMENT_UPLOAD, result="denied", document_type=key
        )
        await record_denial(batch.resources, denial, batch.customer)
    problem = present_problem(error, context.request_id)
    metrics.PROBLEMS.labels(problem.code).inc()
    return DocumentBatchResult(key=key, status=error.status, document=None, problem=problem)
