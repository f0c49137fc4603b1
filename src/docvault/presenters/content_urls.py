"""Content URLs."""

from datetime import UTC, datetime

from docvault.domain.content_urls import ContentGrant
from docvault.schemas.content_urls import ContentUrlRead


def present_content_url(grant: ContentGrant, url: str) -> ContentUrlRead:
    """Present a URL with the time at which it expires."""
    return ContentUrlRead(url=url, expires_at=datetime.fromtimestamp(grant.expires_at, UTC))
