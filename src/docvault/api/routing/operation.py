"""What an endpoint declares about itself, for the guard and for OpenAPI."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, TypeVar

from docvault.api.http.json_body import MAX_BODY_BYTES
from docvault.domain.audit import AuditAction
from docvault.domain.rate_limits import Limit
from docvault.domain.scopes import Scope, StaffRole
from docvault.errors import DocvaultError

AUDITORS = frozenset({StaffRole.ADMIN, StaffRole.AUDITOR})

ConditionHeader = Literal["If-Match", "If-None-Match", "Range"]
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Api:
    """One of the three APIs."""

    name: str
    security_scheme: str
    # What every operation may respond with, before it looks at anything but the caller.
    errors: tuple[type[DocvaultError], ...]
    callers_are_customers: bool = False
    # Whether archived document types that hold a file are visible.
    shows_archived: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation; endpoints declare one of its subclasses.

    The audit action also names the operation in refusals and picks the rate limit.
    """

    action: AuditAction
    _: KW_ONLY
    # The roles whose holders may call it; of the admin API only.
    roles: frozenset[StaffRole] = frozenset({StaffRole.ADMIN})
    # What an API key needs.
    scope: Scope | None = None
    # Whether every API key may call it, whatever its scopes.
    allows_every_key: bool = False
    # Errors beyond those that follow from the API, the request type and this declaration.
    errors: tuple[type[DocvaultError], ...] = ()
    conditions: tuple[ConditionHeader, ...] = ()
    # False if the endpoint waits for more than the database, so that it opens short transactions
    # itself.
    in_transaction: bool = True

    @property
    def customer_limit(self) -> Limit:
        """The limit that counts this operation when a customer calls it."""
        if self.action in {AuditAction.DOCUMENT_UPDATE, AuditAction.DOCUMENT_REMOVE_FILE}:
            return Limit.CUSTOMER_VALUE_CHANGES
        brings_files = self.action in {AuditAction.UPLOAD_CREATE, AuditAction.DOCUMENT_UPLOAD}
        return Limit.CUSTOMER_UPLOADS if brings_files else Limit.CUSTOMER_REQUESTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Read(Operation):
    """A GET."""

    available_when_portal_disabled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Operation):
    """Any other method."""

    idempotent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NoBody(Change):
    """A change without a request body."""

    def __post_init__(self) -> None:
        if self.idempotent and self.in_transaction:
            # It would run inside the guard, before the idempotency key is claimed.
            raise TypeError("an idempotent change without a body opens its own transactions")


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonBody(Change):
    """A change whose JSON body the guard reads."""

    max_body_bytes: int = MAX_BODY_BYTES
    # Whether `Location` names the created resource.
    returns_location: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload(Change):
    """A change whose multipart body the endpoint reads, outside any transaction."""

    in_transaction: bool = field(default=False, init=False)


def operation(declared: Operation) -> Callable[[Endpoint], Endpoint]:
    """Declare the operation of an endpoint."""

    def declare(endpoint: Endpoint) -> Endpoint:
        endpoint.__operation__ = declared  # type: ignore[attr-defined]  # functions take any
        return endpoint

    return declare


def declared_operation(endpoint: Callable[..., Any]) -> Operation:
    """Return what `operation` declared; raises `TypeError` when it was forgotten."""
    declared = getattr(endpoint, "__operation__", None)
    if not isinstance(declared, Operation):
        raise TypeError(f"{endpoint.__name__} declares no operation")
    return declared
