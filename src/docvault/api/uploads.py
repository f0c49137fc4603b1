"""Receiving files: multipart into the spool, under the limits of the document type (D19)."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from docvault import metrics
from docvault.api.bodies import announced_bytes
from docvault.api.calls import Call
from docvault.api.error_handlers import validation_failed
from docvault.api.idempotency_keys import fingerprint_of
from docvault.api.json_bodies import escape_pointer, parse_json
from docvault.api.multipart import PartEnd, PartEvent, PartStart, read_parts
from docvault.auth.principals import CustomerCaller
from docvault.errors import (
    FileTooLarge,
    MalformedRequest,
    Overloaded,
    TooManyFiles,
    ValidationFailed,
)
from docvault.repositories.unit import Unit
from docvault.rules.quotas import Volume
from docvault.rules.slots import TypeFacts
from docvault.schemas.documents import FieldValuesInput
from docvault.services import quotas
from docvault.services.accepted_files import max_file_bytes
from docvault.services.resources import Resources
from docvault.services.uploads import ReceivedFile, Submission
from docvault.settings import Settings
from docvault.storage.spool import SpoolFile

FILE_PART = "file"
VALUES_PART = "field_values"
MAX_OTHER_PART_BYTES = 64 * 1024
MAX_SHOWN_NAME = 100
# Boundaries, part headers and the other parts together; a file may need no more beside it.
OVERHEAD_BYTES = 1024 * 1024

_FIELD_VALUES: TypeAdapter[dict[str, str | None]] = TypeAdapter(FieldValuesInput)
_Parsed = TypeVar("_Parsed")


@dataclass(frozen=True, slots=True)
class PartLimits:
    """What a multipart body may hold. `file_names` None: any part name may hold a file."""

    max_files: int
    max_file_bytes: int
    body_bytes: int
    file_names: frozenset[str] | None
    value_names: frozenset[str]


@dataclass(slots=True)
class ReceivedParts:
    """What a multipart body held: files by part name, in order, and plain values."""

    files: list[tuple[str, ReceivedFile]] = field(default_factory=list)
    values: dict[str, bytes] = field(default_factory=dict)

    def fingerprint(self) -> bytes:
        """Return a digest of names, file digests and values (R-117)."""
        files = [
            [name, file.raw_filename, file.spooled.sha256, file.spooled.size_bytes]
            for name, file in self.files
        ]
        return fingerprint_of(
            json.dumps(files).encode(),
            *(part for name in sorted(self.values) for part in (name.encode(), self.values[name])),
        )

    def discard(self) -> None:
        """Remove what the store has not taken."""
        for _, file in self.files:
            file.spooled.discard()


@asynccontextmanager
async def received_parts(call: Call, limits: PartLimits) -> AsyncIterator[ReceivedParts]:
    """Receive a multipart body into the spool; the spool is empty again afterwards.

    Raises `RateLimited` or `Overloaded` before a byte is read when too many uploads are under
    way (D30).
    """
    caller = call.asker.caller
    customer = caller.external_id if isinstance(caller, CustomerCaller) else None
    async with upload_slot(call.resources, customer):
        parts = ReceivedParts()
        try:
            await _Receiver(call, limits, parts).receive()
            yield parts
        finally:
            parts.discard()


@asynccontextmanager
async def received_submission(call: Call, document_type: TypeFacts) -> AsyncIterator[Submission]:
    """Receive the files and values for one slot; sets the fingerprint of the call."""
    settings = call.resources.settings
    limits = PartLimits(
        max_files=document_type.max_files,
        max_file_bytes=max_file_bytes(document_type, settings),
        body_bytes=_max_body_bytes(document_type, settings),
        file_names=frozenset({FILE_PART}),
        value_names=frozenset({VALUES_PART}),
    )
    async with received_parts(call, limits) as parts:
        call.fingerprint = parts.fingerprint()
        raw = parts.values.get(VALUES_PART)
        values = {} if raw is None else parse_part(_FIELD_VALUES, raw, VALUES_PART)
        yield Submission([file for _, file in parts.files], values)


async def check_room(call: Call, unit: Unit) -> None:
    """Refuse a body before it is read that the customer's quota has no room for.

    Only a large one: a small one is read sooner than the database is asked, and every file is
    checked again, exactly, before it is stored. Of a batch some files may fit, so that it is
    refused only when nothing would. What is too large in itself gets 413 for that.
    """
    announced, settings = announced_bytes(call), call.resources.settings
    least = 1
    if announced is not None:
        if announced <= OVERHEAD_BYTES:
            return
        if call.slots:
            if announced > _max_body_bytes(call.slot.type, settings):
                return
            least = announced - OVERHEAD_BYTES
    await quotas.check_room(unit, settings, call.customer.id, Volume(1, least))


def _max_body_bytes(document_type: TypeFacts, settings: Settings) -> int:
    return document_type.max_files * max_file_bytes(document_type, settings) + OVERHEAD_BYTES


def part_pointer(name: str) -> str:
    """Return the pointer to a part, at a bounded length."""
    return f"/{escape_pointer(name[:MAX_SHOWN_NAME])}"


def parse_part(adapter: TypeAdapter[_Parsed], raw: bytes, name: str) -> _Parsed:
    """Return a JSON part as what it should be; raises `MalformedRequest`, `ValidationFailed`."""
    parsed = parse_json(raw, f"/{name}")
    try:
        return adapter.validate_python(parsed)
    except ValidationError as error:
        raise validation_failed(error.errors(), f"/{name}") from error


class _Receiver:
    """Reads one body; keeps the limits while it does."""

    def __init__(self, call: Call, limits: PartLimits, parts: ReceivedParts) -> None:
        self._call = call
        self._limits = limits
        self._parts = parts
        self._too_large = FileTooLarge(
            pointer=f"/{FILE_PART}", members={"limit_bytes": limits.max_file_bytes}
        )

    async def receive(self) -> None:
        events = read_parts(self._call, self._limits.body_bytes, self._too_large)
        async for event in events:
            if not isinstance(event, PartStart):
                raise MalformedRequest("The multipart body is broken.")
            if self._is_file(event):
                await self._receive_file(event, events)
            else:
                await self._receive_value(event, events)

    def _is_file(self, start: PartStart) -> bool:
        names = self._limits.file_names
        if start.name in self._limits.value_names:
            return False
        if names is None or start.name in names:
            return True
        raise ValidationFailed("There is no such part.", pointer=part_pointer(start.name))

    async def _receive_file(self, start: PartStart, events: AsyncIterator[PartEvent]) -> None:
        if len(self._parts.files) >= self._limits.max_files:
            raise TooManyFiles(
                f"At most {self._limits.max_files} here.", pointer=part_pointer(start.name)
            )
        spooled = self._call.resources.spool.create()
        self._parts.files.append((start.name, ReceivedFile(spooled, start.filename or "")))
        async for event in events:
            if isinstance(event, PartEnd):
                await spooled.finish()
                return
            if isinstance(event, bytes):
                await self._append(spooled, event, part_pointer(start.name))
        raise MalformedRequest("The multipart body is broken.")

    async def _append(self, spooled: SpoolFile, data: bytes, pointer: str) -> None:
        metrics.UPLOAD_BYTES.inc(len(data))
        if spooled.size_bytes + len(data) > self._limits.max_file_bytes:
            limit = {"limit_bytes": self._limits.max_file_bytes}
            raise FileTooLarge(pointer=pointer, members=limit)
        await spooled.write(data)
        if self._call.claim is not None:
            await self._call.claim.keep(self._call.resources, self._call.asker)

    async def _receive_value(self, start: PartStart, events: AsyncIterator[PartEvent]) -> None:
        pointer = part_pointer(start.name)
        if start.name in self._parts.values:
            raise ValidationFailed("The part is there twice.", pointer=pointer)
        value = b""
        async for event in events:
            if isinstance(event, PartEnd):
                self._parts.values[start.name] = value
                return
            if isinstance(event, bytes):
                value += event
            if len(value) > MAX_OTHER_PART_BYTES:
                raise ValidationFailed("The part is too large.", pointer=pointer)
        raise MalformedRequest("The multipart body is broken.")


@asynccontextmanager
async def upload_slot(resources: Resources, customer: str | None) -> AsyncIterator[None]:
    """Take one of the places for uploads, for a customer or, with None, for somebody else.

    Raises `RateLimited` when the customer has all of theirs taken, and `Overloaded` when none
    is free at all (D30).
    """
    with resources.rate_limits.one_upload(customer):
        require_free_slot(resources)
        async with resources.upload_slots:
            with metrics.UPLOADS_IN_FLIGHT.track_inprogress():
                yield


def require_free_slot(resources: Resources) -> None:
    """Raise `Overloaded` when every place for uploads is taken."""
    if resources.upload_slots.locked():
        metrics.UPLOADS_REFUSED.inc()
        raise Overloaded("Too many uploads are under way.")
