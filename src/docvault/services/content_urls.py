"""Content URLs: created for a viewer who may read a file, and valid while that is so."""

import base64
import binascii
import json
import time
from contextlib import suppress
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from docvault.auth.keyring import Keyring
from docvault.domain.actors import Actor, ApiKeyActor, CustomerActor, Staff
from docvault.domain.audit import AuditAction
from docvault.domain.content_urls import LIFETIME, ContentGrant, ContentPurpose
from docvault.domain.customer_documents import CustomerDocuments, DocumentSelection
from docvault.domain.customers import Customer
from docvault.domain.documents import StoredFile
from docvault.domain.previews import PreviewSize, can_preview, may_have_page
from docvault.domain.scopes import Scope
from docvault.errors import InvalidContentUrl, NoPreview, PageNotFound
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.schemas.content_urls import ContentUrlCreate
from docvault.services.documents import find_file, get_document

_MAX_TOKEN_LENGTH = 2048


@dataclass(frozen=True, slots=True)
class GrantedFile:
    """The file of a content URL, and its viewer."""

    viewer: Actor
    found: CustomerDocuments
    file: StoredFile


async def grant_content(
    uow: UnitOfWork, customer: Customer, key: str, data: ContentUrlCreate, token_issued_at: int
) -> ContentGrant:
    """Let the actor read a file for a minute without a credential.

    Raises `DocumentTypeNotFound`, `FileNotFound`, `DocumentQuarantined`, `NoPreview` and
    `PageNotFound`.
    """
    document = await get_document(uow, customer, key)
    version, file = await find_file(uow, customer, document, version=None, file=data.file)
    if data.purpose is ContentPurpose.preview:
        if not can_preview(file):
            raise NoPreview
        if not may_have_page(file, data.page):
            raise PageNotFound
    await uow.audit(
        AuditAction.CONTENT_URL_CREATE,
        customer=customer,
        document_type=key,
        version=version.number,
        files=[file],
    )
    return ContentGrant(
        purpose=data.purpose,
        size=data.size,
        page=data.page,
        file_id=file.id,
        key=key,
        customer_id=customer.id,
        external_id=customer.external_id,
        viewer_kind=uow.context.actor.kind,
        viewer_id=uow.context.actor.id,
        token_issued_at=token_issued_at,
        expires_at=int(time.time() + LIFETIME.total_seconds()),
    )


def seal_grant(keyring: Keyring, grant: ContentGrant) -> str:
    """Return the grant as the last segment of a URL.

    It is encrypted (AES-SIV, RFC 5297), because it holds ids and URLs end up in logs.
    """
    payload = json.dumps(astuple(grant), default=str, separators=(",", ":")).encode()
    sealed = AESSIV(keyring.content_url_keys[0]).encrypt(payload, None)
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def open_grant(keyring: Keyring, token: str) -> ContentGrant:
    """Return the grant of a URL that has not expired; raises `InvalidContentUrl`."""
    if len(token) > _MAX_TOKEN_LENGTH or not token.isascii():
        raise InvalidContentUrl
    try:
        sealed = base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise InvalidContentUrl from None
    for key in keyring.content_url_keys:
        with suppress(ValueError, InvalidTag):
            grant = _grant(AESSIV(key).decrypt(sealed, None))
            if grant.expires_at > time.time():
                return grant
    raise InvalidContentUrl


def _grant(payload: bytes) -> ContentGrant:
    purpose, size, page, file_id, key, customer_id, *rest = json.loads(payload)
    return ContentGrant(
        ContentPurpose(purpose), PreviewSize(size), page, UUID(file_id), key, UUID(customer_id),
        *rest,
    )  # fmt: skip


async def find_granted(uow: UnitOfWork, grant: ContentGrant) -> GrantedFile:
    """Return the file, if the viewer may still read it and it is still the current one.

    Raises `InvalidContentUrl`.
    """
    selection = DocumentSelection("one", grant.key, grant.viewer_kind == Staff.kind)
    found = await uow.customer_documents.find(grant.external_id, selection)
    if found is None or found.customer.id != grant.customer_id:
        raise InvalidContentUrl
    if found.customer.erasure_id is not None:
        raise InvalidContentUrl
    viewer = await _find_viewer(uow, grant, found)
    versions = [document.version for document in found.documents]
    files = [file for version in versions if version is not None for file in version.files]
    for file in files:
        if file.id == grant.file_id:
            return GrantedFile(viewer, found, file)
    raise InvalidContentUrl


async def _find_viewer(uow: UnitOfWork, grant: ContentGrant, found: CustomerDocuments) -> Actor:
    """Return the viewer; raises `InvalidContentUrl` if they may no longer read files."""
    if grant.viewer_kind == Staff.kind:
        return Staff(grant.viewer_id)
    if grant.viewer_kind == CustomerActor.kind:
        valid_from = found.customer.tokens_valid_from
        issued_at = datetime.fromtimestamp(grant.token_issued_at, UTC)
        if found.switches.section_enabled and (valid_from is None or issued_at >= valid_from):
            return CustomerActor(found.customer.id, found.customer.external_id)
        raise InvalidContentUrl
    key = await uow.api_keys.get(UUID(grant.viewer_id))
    if key is None or not key.allows(Scope.CONTENT_READ):
        raise InvalidContentUrl
    return ApiKeyActor(key.id, frozenset(Scope(scope) for scope in key.scopes))
