"""Upload sessions."""

from collections.abc import Mapping

from docvault.domain.upload_sessions import UploadSession
from docvault.schemas.upload_sessions import UploadCreated, UploadRead


def present_upload(session: UploadSession) -> UploadRead:
    """Present the state of a session."""
    return UploadRead(
        id=session.id,
        state=session.state.value,
        filename=session.filename,
        size_bytes=session.size_bytes,
        sha256=session.sha256,
        expires_at=session.expires_at,
    )


def present_created_upload(
    session: UploadSession, url: str, headers: Mapping[str, str]
) -> UploadCreated:
    """Present a new session with the signed request that sends its bytes."""
    return UploadCreated(
        id=session.id,
        method="PUT",
        url=url,
        headers=dict(headers),
        expires_at=session.expires_at,
    )
