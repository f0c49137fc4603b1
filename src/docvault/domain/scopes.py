"""Scopes of tokens and API keys."""

from enum import StrEnum

ADMIN_SCOPE = "docvault:admin"
AUDITOR_SCOPE = "docvault:auditor"
CUSTOMER_SCOPE = "docvault:customer"


class StaffRole(StrEnum):
    """What a member of staff may do: everything, or read the audit trail and the events."""

    ADMIN = "admin"
    AUDITOR = "auditor"


class Scope(StrEnum):
    """A permission of an API key. Metadata and file contents have separate scopes."""

    TYPES_READ = "types:read"
    CUSTOMERS_READ = "customers:read"
    CUSTOMERS_WRITE = "customers:write"
    CUSTOMERS_ERASE = "customers:erase"
    DOCUMENTS_READ = "documents:read"
    DOCUMENTS_WRITE = "documents:write"
    DOCUMENTS_WRITE_ADMIN_ONLY = "documents:write_admin_only"
    CONTENT_READ = "content:read"
    GATE_READ = "gate:read"
    EVENTS_READ = "events:read"
