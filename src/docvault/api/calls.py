"""One request on its way: what the guard found out, for the endpoint to use."""

from collections.abc import Sequence
from typing import Any, Self
from uuid import UUID

from fastapi import Request

from docvault.repositories.idempotency_keys import Completion
from docvault.repositories.unit import Unit
from docvault.rules.customers import CustomerFacts
from docvault.rules.dossiers import Dossier
from docvault.rules.portal import PortalSwitches
from docvault.rules.slots import Slot
from docvault.rules.stored_answers import StoredAnswer
from docvault.services.idempotency_keys import Claim, keep_answer
from docvault.services.resources import Resources
from docvault.services.work import Asker, Work


class Call(Request):
    """A request whose caller has been let in; what endpoints are given.

    `customer` is the customer the path names, or the calling customer. `work` is there for
    endpoints inside a transaction; uploads open their own.
    """

    def __init__(self, request: Request, asker: Asker) -> None:
        super().__init__(request.scope, request.receive)
        self.resources: Resources = request.app.state.resources
        self.asker = asker
        self.dossier_or_none: Dossier | None = None
        self.claim: Claim | None = None
        self.fingerprint = b""
        self.work_or_none: Work | None = None
        # Whose data a stored answer holds, when the path does not say.
        self.concerns: UUID | None = None
        self._raw_and_parsed: tuple[bytes, Any] = (b"", None)

    @property
    def work(self) -> Work:
        """The transaction of this request."""
        if self.work_or_none is None:
            raise RuntimeError("this endpoint runs outside a transaction")
        return self.work_or_none

    @property
    def customer(self) -> CustomerFacts:
        """The customer this request is about."""
        return self._dossier.customer

    @property
    def customer_or_none(self) -> CustomerFacts | None:
        """The customer this request is about, if it is about one and has come so far."""
        return self.dossier_or_none.customer if self.dossier_or_none else None

    @property
    def switches(self) -> PortalSwitches:
        """What was switched on when the customer was looked up."""
        return self._dossier.switches

    @property
    def slots(self) -> Sequence[Slot]:
        """The customer's slots that the operation declares, as they were then."""
        return self._dossier.slots

    @property
    def slot(self) -> Slot:
        """The slot in the path, as it was before the body was read."""
        if len(self.slots) != 1:
            raise RuntimeError("this endpoint is not about one document")
        return self.slots[0]

    @property
    def _dossier(self) -> Dossier:
        if self.dossier_or_none is None:
            raise RuntimeError("this endpoint is not about a customer")
        return self.dossier_or_none

    def inside(self, unit: Unit) -> Self:
        """Enter a transaction."""
        self.work_or_none = self.asker.work(unit)
        return self

    def completion(self, answer: StoredAnswer) -> Completion | None:
        """Return what is to be kept of the answer for repeated requests."""
        if self.claim is None:
            return None
        customer = self.customer_or_none
        return self.claim.completion(answer, self.concerns or (customer.id if customer else None))

    async def complete(self, work: Work, answer: StoredAnswer) -> None:
        """Keep the answer for repeated requests, in the transaction of the change."""
        await keep_answer(work, self.completion(answer))

    def set_json(self, raw: bytes, parsed: object) -> None:
        """Keep a body that was read and parsed under our own rules, for FastAPI to find."""
        self._raw_and_parsed = (raw, parsed)

    async def body(self) -> bytes:
        """Return the bytes that were read."""
        return self._raw_and_parsed[0]

    async def json(self) -> Any:  # noqa: ANN401 - JSON is whatever was sent
        """Return what they say."""
        return self._raw_and_parsed[1]
