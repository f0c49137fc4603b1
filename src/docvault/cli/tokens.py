"""Tokens signed with the local key, for deployments without an identity provider."""

from docvault.auth.local_tokens import LocalIssuer
from docvault.cli.failures import CommandFailed
from docvault.domain.customer_ids import check_customer_id
from docvault.errors import ValidationFailed
from docvault.settings import Settings


def create_admin_token(subject: str) -> str:
    """Return a token for staff."""
    _check_subject(subject)
    return open_issuer().admin_token(subject)


def create_auditor_token(subject: str) -> str:
    """Return a token for an auditor."""
    _check_subject(subject)
    return open_issuer().auditor_token(subject)


def create_customer_token(customer_id: str) -> str:
    """Return a token for a customer, by the id of the host application."""
    try:
        check_customer_id(customer_id)
    except ValidationFailed as error:
        raise CommandFailed(error.detail) from None
    return open_issuer().customer_token(customer_id)


def open_issuer() -> LocalIssuer:
    """Return the issuer of the local key; raises `CommandFailed` with an identity provider."""
    settings = Settings()
    if settings.has_identity_provider:
        raise CommandFailed("tokens come from the identity provider of the settings")
    return LocalIssuer(settings)


def _check_subject(subject: str) -> None:
    if not subject.strip():
        raise CommandFailed("the subject must not be empty")
