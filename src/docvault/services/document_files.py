"""Removing single files of a document."""

from docvault.context import RequestContext
from docvault.services.attachments import Attachment, attach_files
from docvault.services.resources import Resources
from docvault.services.saved_documents import SavedDocument, SaveTarget


async def remove_file(
    resources: Resources, context: RequestContext, target: SaveTarget, number: int
) -> SavedDocument:
    """Attach a version with all files of the document but this one.

    Raises `FileNotFound`, `FileRequired` and `QuotaExceeded`.
    """
    return await attach_files(
        resources, context, Attachment(target, files=(), field_values={}, removes=number)
    )
