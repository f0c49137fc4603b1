"""What a document type accepts, and the error for what it does not."""

from tests.domain.documents import to_document_type

from docvault.domain.accepted_files import not_allowed


def test_each_extension_is_named_once() -> None:
    error = not_allowed(to_document_type(), "application/zip")
    listed = error.detail.rpartition("Accepted are ")[2].removesuffix(".").split(", ")
    assert ".heic" in listed
    assert len(set(listed)) == len(listed)
