"""Who is calling, once the credential has been checked."""

from dataclasses import dataclass
from uuid import UUID

from docvault.auth.scopes import Scope


@dataclass(frozen=True, slots=True)
class Staff:
    """Holder of an admin token; `subject` is the token's `sub`."""

    subject: str
    kind = "admin"

    @property
    def id(self) -> str:
        """The id staff see in histories and in the audit trail."""
        return self.subject


@dataclass(frozen=True, slots=True)
class CustomerCaller:
    """A customer, who reaches only their own documents."""

    customer_id: UUID
    external_id: str
    kind = "customer"

    @property
    def id(self) -> str:
        """The host's own id of the customer."""
        return self.external_id


@dataclass(frozen=True, slots=True)
class Integration:
    """A third-party system with an API key."""

    key_id: UUID
    scopes: frozenset[Scope]
    kind = "integration"

    @property
    def id(self) -> str:
        """The id of the API key (never the key)."""
        return str(self.key_id)


@dataclass(frozen=True, slots=True)
class System:
    """docvault itself: the operator at the command line, and jobs."""

    id: str = "docvault"
    kind = "system"


Caller = Staff | CustomerCaller | Integration | System


@dataclass(frozen=True, slots=True)
class Access:
    """Which customers' rows a caller may reach; every repository is built with one (D14)."""

    customer_id: UUID | None

    @classmethod
    def of(cls, caller: Caller) -> "Access":
        """Return the access of a caller: one customer, or everyone for staff and systems."""
        return cls(caller.customer_id if isinstance(caller, CustomerCaller) else None)

    @classmethod
    def everyone(cls) -> "Access":
        """Return the access of the service itself: jobs and the command line."""
        return cls(None)
