"""Typed clients of the docvault APIs."""

from docvault_client.clients import (
    create_admin_client,
    create_customer_client,
    create_integration_client,
)
from docvault_client.pages import Page, Problem, ProblemError, follow

__all__ = [
    "Page",
    "Problem",
    "ProblemError",
    "create_admin_client",
    "create_customer_client",
    "create_integration_client",
    "follow",
]
