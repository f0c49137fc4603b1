"""One request on its way: what the guard found out, for the endpoint to use."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Self
from uuid import UUID

from fastapi import Depends, Request

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


@dataclass(slots=True)
class Call:
    """A request whose caller has been let in.

    `customer` is the customer the path names, or the calling customer. `work` is there for
    endpoints inside a transaction; uploads open their own.
    """

    request: Request
    resources: Resources
    asker: Asker
    dossier_or_none: Dossier | None = None
    claim: Claim | None = None
    fingerprint: bytes = b""
    work_or_none: Work | None = None
    # Whose data a stored answer holds, when the path does not say.
    concerns: UUID | None = None

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


async def _current_call(request: Request) -> Call:
    # Not a plain function: FastAPI would call that in a thread.
    call: Call = request.state.call
    return call


CurrentCall = Annotated[Call, Depends(_current_call)]
