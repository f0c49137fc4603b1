"""Previews that are due."""

from sqlalchemy import text

from docvault.services.resources import Resources

# They wait neither for a pause of uploads nor for the end of a lease.
MAKE_OVERDUE = (
    "UPDATE document_versions SET previews_due_at = now() - interval '1 hour'"
    " WHERE previews_due_at IS NOT NULL"
)


async def make_overdue(resources: Resources) -> None:
    """Let the worker render everything that is due or taken."""
    async with resources.database.transaction() as session:
        await session.execute(text(MAKE_OVERDUE))
