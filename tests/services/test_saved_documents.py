"""Preconditions of documents, and the response to a save."""

from uuid import uuid4

import pytest
from tests.domain.documents import document
from tests.factories.contexts import context_of

from docvault.domain.actors import ApiKeyActor, Staff
from docvault.domain.preconditions import Preconditions
from docvault.errors import PreconditionFailed
from docvault.services.idempotency_keys import Claim
from docvault.services.saved_documents import check_preconditions, saved_document

STAFF = context_of(Staff("staff-1"))
MISSING, UPLOADED = document(), document(filled=True)


class TestCheckPreconditions:
    """check_preconditions()."""

    def test_own_etag_matches(self) -> None:
        for found in (MISSING, UPLOADED):
            etag = saved_document(found, STAFF, created=False).representation.etag
            check_preconditions(Preconditions(if_match=frozenset({etag})), found, STAFF)

    def test_etag_of_another_presentation_does_not_match(self) -> None:
        key = context_of(ApiKeyActor(uuid4(), frozenset()))
        etag = saved_document(UPLOADED, key, created=False).representation.etag
        with pytest.raises(PreconditionFailed):
            check_preconditions(Preconditions(if_match=frozenset({etag})), UPLOADED, STAFF)

    def test_star_matches_any_file(self) -> None:
        check_preconditions(Preconditions(if_match="*"), UPLOADED, STAFF)
        check_preconditions(Preconditions(if_none_match="*"), MISSING, STAFF)
        with pytest.raises(PreconditionFailed):
            check_preconditions(Preconditions(if_match="*"), MISSING, STAFF)
        with pytest.raises(PreconditionFailed):
            check_preconditions(Preconditions(if_none_match="*"), UPLOADED, STAFF)


class TestSavedDocument:
    """SavedDocument."""

    @pytest.mark.parametrize(("created", "status"), [(True, 201), (False, 200)])
    def test_stored_response_equals_response(self, created: bool, status: int) -> None:
        saved = saved_document(UPLOADED, STAFF, created=created)
        customer_id = uuid4()
        completion = saved.completion(Claim(b"k", uuid4(), None, b"f"), customer_id)
        assert completion is not None
        response = completion.response
        assert (response.status, response.fingerprint) == (status, b"f")
        assert response.body == saved.representation.body
        assert response.headers == {"etag": saved.representation.etag}
        assert completion.customer_id == customer_id

    def test_nothing_is_stored_without_key(self) -> None:
        assert saved_document(UPLOADED, STAFF, created=True).completion(None, uuid4()) is None
