"""Request contexts for tests without HTTP."""

from functools import cache
from uuid import UUID

import uuid_utils.compat

from docvault.auth.keyring import Keyring
from docvault.context import RequestContext
from docvault.domain.actors import Actor, CustomerActor
from docvault.settings import Settings


def context_of(actor: Actor) -> RequestContext:
    """Return the context of a request by the actor."""
    return RequestContext(actor, uuid_utils.compat.uuid7(), *_keyring_and_settings())


def customer_context(customer_id: UUID) -> RequestContext:
    """Return the context of a customer, with access only to their own rows."""
    return context_of(CustomerActor(customer_id, "c-1"))


def system_context() -> RequestContext:
    """Return the context of docvault itself, with access to all customers."""
    return RequestContext.system(*_keyring_and_settings())


@cache
def _keyring_and_settings() -> tuple[Keyring, Settings]:
    return Keyring(b"s" * 32), Settings()
