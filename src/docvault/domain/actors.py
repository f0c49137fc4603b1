"""Who acts, once the credential has been verified."""

from dataclasses import dataclass
from uuid import UUID

from docvault.domain.scopes import Scope


@dataclass(frozen=True, slots=True)
class Staff:
    """Holder of an admin token; `subject` is the token's `sub`."""

    subject: str
    kind = "admin"

    @property
    def id(self) -> str:
        """The id shown to staff in histories and in the audit trail."""
        return self.subject


@dataclass(frozen=True, slots=True)
class CustomerActor:
    """A customer, who can access only their own documents."""

    customer_id: UUID
    external_id: str
    kind = "customer"

    @property
    def id(self) -> str:
        """The id that the host gave the customer."""
        return self.external_id


@dataclass(frozen=True, slots=True)
class ApiKeyActor:
    """A third-party system with an API key."""

    key_id: UUID
    scopes: frozenset[Scope]
    kind = "integration"

    @property
    def id(self) -> str:
        """The id of the API key, never the key itself."""
        return str(self.key_id)


@dataclass(frozen=True, slots=True)
class System:
    """docvault itself: the operator at the command line, and jobs."""

    id: str = "docvault"
    kind = "system"


Actor = Staff | CustomerActor | ApiKeyActor | System


@dataclass(frozen=True, slots=True)
class Access:
    """Which customers' rows an actor may access; every repository is built with one (D14)."""

    customer_id: UUID | None

    @classmethod
    def of(cls, actor: Actor) -> "Access":
        """Return the access of an actor: customers reach their own rows, all others every row."""
        return cls(actor.customer_id if isinstance(actor, CustomerActor) else None)
