"""Erasures."""

from docvault.domain.erasures import Erasure
from docvault.schemas.erasures import ErasureCounts, ErasureRead


def present_erasure(erasure: Erasure) -> ErasureRead:
    """Present an erasure without naming the customer."""
    return ErasureRead(
        id=erasure.id,
        state="pending" if erasure.completed_at is None else "completed",
        requested_at=erasure.requested_at,
        completed_at=erasure.completed_at,
        counts=ErasureCounts(
            documents=erasure.documents,
            versions=erasure.versions,
            blobs_deleted=max(0, erasure.blobs - erasure.blobs_pending),
            blobs_pending=erasure.blobs_pending,
        ),
    )
