"""Errors of the request's content: 422."""

from docvault.errors.base import DocvaultError


class Invalid(DocvaultError):
    """Invalid"""

    status = 422


class ValidationFailed(Invalid):
    """Validation failed

    The request is not valid.
    """

    code = "validation-error"


class FieldsNotEnabled(Invalid):
    """Fields not enabled

    The document type does not collect fields.
    """

    code = "fields-not-enabled"


class UnknownField(Invalid):
    """Unknown field

    The document type has no such field.
    """

    code = "unknown-field"


class DuplicateLabel(Invalid):
    """Duplicate label

    Two fields have the same label.
    """

    code = "duplicate-label"


class FieldsRequired(Invalid):
    """Fields required

    A document type that collects fields needs at least one field.
    """

    code = "fields-required"


class FileRequired(Invalid):
    """File required

    At least one file is required.
    """

    code = "file-required"


class EmptyFile(Invalid):
    """Empty file

    The file is empty.
    """

    code = "empty-file"


class TooManyFiles(Invalid):
    """Too many files

    The document type accepts fewer files.
    """

    code = "too-many-files"


class CorruptFile(Invalid):
    """Corrupt file

    The file is corrupt, or its content does not match its type.
    """

    code = "corrupt-file"


class PasswordProtected(Invalid):
    """Password-protected file

    The file can only be opened with a password. Remove the password and upload the file again.
    """

    code = "password-protected"


class MalwareDetected(Invalid):
    """Malware detected

    The file is infected.
    """

    code = "malware-detected"


class DigestMismatch(Invalid):
    """Digest mismatch

    The received bytes do not match the declared size or SHA-256.
    """

    code = "digest-mismatch"


class GateRequiresSection(Invalid):
    """Gate requires section

    The gate cannot be enabled while the documents section is disabled.
    """

    code = "gate-requires-section"


class IdempotencyKeyReused(Invalid):
    """Idempotency key reused

    The idempotency key was used for a different request.
    """

    code = "idempotency-key-reused"


class UnknownFilterType(Invalid):
    """Unknown filter type

    The filter names an unknown document type.
    """

    code = "unknown-filter-type"


class WebhookUrlNotAllowed(Invalid):
    """Webhook URL not allowed

    The URL must be `https` with a public host name and without a port or user name, unless the
    operators allow its host.
    """

    code = "webhook-url-not-allowed"
