"""Receiving multipart uploads into the spool, within the document type's limits (D19)."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from docvault.api.http.body import content_length
from docvault.api.http.error_handlers import validation_error
from docvault.api.http.idempotency import fingerprint_of
from docvault.api.http.json_body import parse_json
from docvault.api.http.multipart import PartEnd, PartEvent, PartStart, read_parts
from docvault.api.routing.requests import ApiRequest, CustomerRequest, DocumentRequest
from docvault.domain.accepted_files import max_file_bytes
from docvault.domain.actors import Actor, CustomerActor
from docvault.domain.document_types import DocumentType
from docvault.domain.quotas import StorageUsage
from docvault.domain.rate_limits import Limit
from docvault.errors import (
    FileTooLarge,
    MalformedRequest,
    Overloaded,
    TooManyFiles,
    ValidationFailed,
    escape_pointer,
)
from docvault.observability import metrics
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.schemas.documents import FieldValuesInput
from docvault.services import quotas
from docvault.services.resources import Resources
from docvault.services.uploads import ReceivedFile, Submission
from docvault.settings import Settings
from docvault.storage.spool import SpoolFile

FILE_PART = "file"
VALUES_PART = "field_values"
# Names the encoding of the other fields (RFC 7578, section 4.6). JSON is always UTF-8.
CHARSET_PART = "_charset_"
MAX_OTHER_PART_BYTES = 64 * 1024
MAX_SHOWN_NAME = 100
# For boundaries, part headers and the other parts of a body with files.
OVERHEAD_BYTES = 1024 * 1024

_FIELD_VALUES: TypeAdapter[dict[str, str | None]] = TypeAdapter(FieldValuesInput)
_Parsed = TypeVar("_Parsed")


@dataclass(frozen=True, slots=True)
class PartLimits:
    """The limits of a multipart body.

    In a batch each file counts as an upload of the customer, with the request itself as the
    first, and errors locate a file by its index.
    """

    max_files: int
    max_file_bytes: int
    body_bytes: int
    file_names: frozenset[str]
    value_names: frozenset[str]
    is_batch: bool = False


@dataclass(slots=True)
class ReceivedParts:
    """The files of a multipart body by part name, in order, and its plain values."""

    files: list[tuple[str, ReceivedFile]] = field(default_factory=list)
    values: dict[str, bytes] = field(default_factory=dict)

    def fingerprint(self) -> bytes:
        """Return a digest of the part names, file digests and values."""
        files = [
            [name, file.raw_filename, file.spooled.sha256, file.spooled.size_bytes]
            for name, file in self.files
        ]
        return fingerprint_of(
            json.dumps(files).encode(),
            *(part for name in sorted(self.values) for part in (name.encode(), self.values[name])),
        )

    def discard(self) -> None:
        """Remove the files that were not moved to the store."""
        for _, file in self.files:
            file.spooled.discard()


@asynccontextmanager
async def receive_parts(request: ApiRequest, limits: PartLimits) -> AsyncIterator[ReceivedParts]:
    """Receive a multipart body into the spool, and clean the spool up afterwards.

    Raises `RateLimited` or `Overloaded` before reading if there are too many concurrent uploads
    (D30).
    """
    async with upload_permit(request.resources, *concurrent_upload_limits(request.context.actor)):
        parts = ReceivedParts()
        try:
            await _Receiver(request, limits, parts).receive()
            yield parts
        finally:
            parts.discard()


@asynccontextmanager
async def receive_submission(
    request: DocumentRequest, *, appends: bool = False
) -> AsyncIterator[Submission]:
    """Receive the files and values of one document; sets the request's fingerprint.

    To add to the files of the document, one file is sent.
    """
    settings, document_type = request.resources.settings, request.document.type
    limits = PartLimits(
        max_files=1 if appends else document_type.max_files,
        max_file_bytes=max_file_bytes(document_type, settings),
        body_bytes=_max_body_bytes(document_type, settings),
        file_names=frozenset({FILE_PART}),
        value_names=frozenset({VALUES_PART}),
    )
    async with receive_parts(request, limits) as parts:
        request.fingerprint = parts.fingerprint()
        raw = parts.values.get(VALUES_PART)
        # HTML forms send an input that was left blank as an empty part.
        values = {} if not raw else parse_part(_FIELD_VALUES, raw, VALUES_PART)
        reserved = request.upload.blob if request.upload else None
        yield Submission([file for _, file in parts.files], values, reserved, appends)


async def check_quota_before_body(request: CustomerRequest, uow: UnitOfWork) -> None:
    """Raise `QuotaExceeded` before a large body is read that cannot fit the customer's quota.

    A small body is read faster than the quota is queried, and every file is checked again before
    it is stored. A batch is rejected only if no file of it can fit. A body that is too large in
    itself gets a 413 instead.
    """
    declared, settings = content_length(request), request.resources.settings
    least = 1
    if declared is not None:
        if declared <= OVERHEAD_BYTES:
            return
        if isinstance(request, DocumentRequest):
            if declared > _max_body_bytes(request.document.type, settings):
                return
            least = declared - OVERHEAD_BYTES
    await quotas.check_quota(uow, request.customer.id, StorageUsage(1, least))


def _max_body_bytes(document_type: DocumentType, settings: Settings) -> int:
    return document_type.max_files * max_file_bytes(document_type, settings) + OVERHEAD_BYTES


def part_pointer(name: str) -> str:
    """Return the JSON pointer to a part, of limited length."""
    return f"/{escape_pointer(name[:MAX_SHOWN_NAME])}"


def parse_part(adapter: TypeAdapter[_Parsed], raw: bytes, name: str) -> _Parsed:
    """Parse and validate a JSON part; raises `MalformedRequest` or `ValidationFailed`."""
    parsed = parse_json(raw, f"/{name}")
    try:
        return adapter.validate_python(parsed)
    except ValidationError as error:
        raise validation_error(error.errors(), f"/{name}") from error


class _Receiver:
    """Reads one body within its limits."""

    def __init__(self, request: ApiRequest, limits: PartLimits, parts: ReceivedParts) -> None:
        self._request = request
        self._limits = limits
        self._parts = parts
        self._too_large = FileTooLarge.above(limits.max_file_bytes, pointer=f"/{FILE_PART}")

    async def receive(self) -> None:
        events = read_parts(self._request, self._limits.body_bytes, self._too_large)
        async for event in events:
            if not isinstance(event, PartStart):
                raise MalformedRequest("The multipart body is malformed.")
            if self._is_file(event):
                await self._receive_file(event, events)
            else:
                await self._receive_value(event, events)

    def _is_file(self, start: PartStart) -> bool:
        if start.name in self._limits.value_names:
            return False
        if start.name == CHARSET_PART and start.filename is None:
            return False
        if start.name in self._limits.file_names:
            return True
        raise ValidationFailed("Unknown part.", pointer=part_pointer(start.name))

    async def _receive_file(self, start: PartStart, events: AsyncIterator[PartEvent]) -> None:
        pointer = part_pointer(start.name)
        if self._limits.is_batch:
            pointer += f"/{len(self._parts.files)}"
        event = await anext(events, None)
        is_nothing = start.filename == "" and isinstance(event, PartEnd)
        if is_nothing and not self._limits.is_batch:
            # What browsers send for an input in which no file was chosen.
            return
        if len(self._parts.files) >= self._limits.max_files:
            raise TooManyFiles(
                f"The maximum number of files is {self._limits.max_files}.",
                pointer=pointer,
                params={"max": self._limits.max_files},
            )
        self._count_file()
        spooled = self._request.resources.spool.create()
        self._parts.files.append((start.name, ReceivedFile(spooled, start.filename or "")))
        while isinstance(event, bytes):
            await self._append(spooled, event, pointer)
            event = await anext(events, None)
        if not isinstance(event, PartEnd):
            raise MalformedRequest("The multipart body is malformed.")
        await spooled.finish()

    def _count_file(self) -> None:
        """Count the file in this process, to fail early; `save_batch` counts across processes."""
        caller = self._request.context.actor
        if self._limits.is_batch and self._parts.files and isinstance(caller, CustomerActor):
            limits = self._request.resources.rate_limits
            left = limits.hit_local(Limit.CUSTOMER_UPLOADS, caller.external_id)
            self._request.state.allowance = left

    async def _append(self, spooled: SpoolFile, data: bytes, pointer: str) -> None:
        metrics.UPLOAD_BYTES.inc(len(data))
        if spooled.size_bytes + len(data) > self._limits.max_file_bytes:
            raise FileTooLarge.above(self._limits.max_file_bytes, pointer=pointer)
        await spooled.write(data)
        if self._request.claim is not None:
            await self._request.claim.renew_lease(self._request.resources, self._request.context)

    async def _receive_value(self, start: PartStart, events: AsyncIterator[PartEvent]) -> None:
        pointer = part_pointer(start.name)
        if start.name in self._parts.values:
            raise ValidationFailed("Duplicate part.", pointer=pointer)
        value = b""
        async for event in events:
            if isinstance(event, PartEnd):
                self._parts.values[start.name] = value
                return
            if isinstance(event, bytes):
                value += event
            if len(value) > MAX_OTHER_PART_BYTES:
                raise ValidationFailed("The part is too large.", pointer=pointer)
        raise MalformedRequest("The multipart body is malformed.")


def concurrent_upload_limits(caller: Actor) -> Iterator[tuple[Limit, str]]:
    """Yield the limits on a caller's concurrent uploads; only customers have one."""
    if isinstance(caller, CustomerActor):
        yield Limit.CUSTOMER_CONCURRENT_UPLOADS, caller.external_id


@asynccontextmanager
async def upload_permit(resources: Resources, *bounds: tuple[Limit, str]) -> AsyncIterator[None]:
    """Hold one of the process's upload permits, within the given limits (D30).

    Raises `RateLimited` if a limit is reached, and `Overloaded` if no permit is free.
    """
    with ExitStack() as held:
        for limit, who in bounds:
            held.enter_context(resources.rate_limits.concurrent_transfer(limit, who))
        require_upload_capacity(resources)
        async with resources.upload_permits:
            with metrics.UPLOADS_IN_FLIGHT.track_inprogress():
                yield


def require_upload_capacity(resources: Resources) -> None:
    """Raise `Overloaded` if the process has no free upload permit."""
    if resources.upload_permits.locked():
        metrics.UPLOADS_REFUSED.inc()
        raise Overloaded("Too many concurrent uploads.")
