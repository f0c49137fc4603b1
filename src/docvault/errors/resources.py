"""Errors of a resource's existence and state: 404, 409 and 410."""

from docvault.errors.base import DocvaultError


class NotFound(DocvaultError):
    """Not found

    The resource does not exist.
    """

    status = 404
    code = "not-found"


class CustomerNotFound(NotFound):
    """Customer not found

    The customer does not exist.
    """

    code = "customer-not-found"


class DocumentTypeNotFound(NotFound):
    """Document type not found

    The document type does not exist.
    """

    code = "document-type-not-found"


class FileNotFound(NotFound):
    """File not found

    The document has no such file.
    """

    code = "file-not-found"


class PageNotFound(NotFound):
    """Page not found

    The file has no such page.
    """

    code = "page-not-found"


class NoPreview(NotFound):
    """No preview

    The file has no preview.
    """

    code = "no-preview"


class Conflict(DocvaultError):
    """Conflict"""

    status = 409


class NameConflict(Conflict):
    """Name conflict

    Another active document type has this name.
    """

    code = "name-conflict"


class KeyConflict(Conflict):
    """Key conflict

    Another document type has this key.
    """

    code = "key-conflict"


class CustomerExists(Conflict):
    """Customer exists

    A customer with this id already exists.
    """

    code = "customer-exists"


class DocumentTypeInUse(Conflict):
    """Document type in use

    Files have been stored for this document type.
    """

    code = "document-type-in-use"


class RequestInProgress(Conflict):
    """Request in progress

    A request with this idempotency key is still running.
    """

    code = "request-in-progress"


class CustomerBeingErased(Conflict):
    """Customer being erased

    The customer is being erased.
    """

    code = "customer-being-erased"


class DocumentQuarantined(Conflict):
    """Document quarantined

    The file is infected and cannot be read.
    """

    code = "document-quarantined"


class UploadNotComplete(Conflict):
    """Upload not complete

    The bytes of the upload have not arrived.
    """

    code = "upload-not-complete"


class TooManyUploads(Conflict):
    """Too many uploads

    The customer has too many pending uploads.
    """

    code = "too-many-uploads"


class QuotaExceeded(Conflict):
    """Quota exceeded

    The request would exceed the customer's storage quota.
    """

    code = "quota-exceeded"


class WebhookLimit(Conflict):
    """Webhook limit

    The limit on the number of webhooks is reached. Delete one first.
    """

    code = "webhook-limit"


class WebhookDisabled(Conflict):
    """Webhook disabled

    Nothing is sent to a disabled webhook. Enable it first.
    """

    code = "webhook-disabled"


class EventNotKept(Conflict):
    """Event not kept

    The event was deleted, or its customer was erased.
    """

    code = "event-not-kept"


class UploadExpired(DocvaultError):
    """Upload session expired

    The upload was not completed in time.
    """

    status = 410
    code = "upload-expired"


class EventsExpired(DocvaultError):
    """Events expired

    Events after this cursor were deleted, or it belongs to another log. Read everything again.
    """

    status = 410
    code = "events-expired"
