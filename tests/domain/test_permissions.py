"""Who may change which document."""

from uuid import UUID

import pytest
from tests.domain.documents import to_document_type

from docvault.domain.actors import Actor, ApiKeyActor, CustomerActor, Staff, System
from docvault.domain.document_types import UploadMode
from docvault.domain.permissions import (
    may_write,
    require_customer_delete,
    require_write,
    write_refusal,
)
from docvault.domain.scopes import Scope
from docvault.errors import AdminOnlyDocument, DeleteNotAllowed, InsufficientScope

ID = UUID(int=0)
STAFF = Staff("staff-1")
SYSTEM = System()
CUSTOMER = CustomerActor(ID, "c-1")
WRITE, ADMIN_ONLY = Scope.DOCUMENTS_WRITE, Scope.DOCUMENTS_WRITE_ADMIN_ONLY


def key_with(*scopes: Scope) -> ApiKeyActor:
    return ApiKeyActor(ID, frozenset(scopes))


class TestWrite:
    """`write_refusal`, `may_write` and `require_write`."""

    @pytest.mark.req("R-034", "R-035", "R-036", "R-055", "R-115")
    @pytest.mark.parametrize(
        ("caller", "ordinary", "admin_only"),
        [
            (STAFF, None, None),
            (SYSTEM, None, None),
            (CUSTOMER, None, AdminOnlyDocument),
            (key_with(), InsufficientScope, InsufficientScope),
            (key_with(WRITE), None, InsufficientScope),
            (key_with(ADMIN_ONLY), InsufficientScope, InsufficientScope),
            (key_with(WRITE, ADMIN_ONLY), None, None),
            (key_with(*(set(Scope) - {WRITE})), InsufficientScope, InsufficientScope),
            (key_with(*(set(Scope) - {ADMIN_ONLY})), None, InsufficientScope),
        ],
    )
    def test_permission_table(
        self,
        caller: Actor,
        ordinary: type[Exception] | None,
        admin_only: type[Exception] | None,
    ) -> None:
        for mode in UploadMode:
            expected = admin_only if mode is UploadMode.ADMIN_ONLY else ordinary
            refusal = write_refusal(caller, to_document_type(upload_mode=mode))
            assert type(refusal) is (expected or type(None)), mode
            assert may_write(caller, to_document_type(upload_mode=mode)) == (expected is None)

    def test_require_raises_forbidden(self) -> None:
        with pytest.raises(AdminOnlyDocument):
            require_write(CUSTOMER, to_document_type(upload_mode=UploadMode.ADMIN_ONLY))
        require_write(CUSTOMER, to_document_type())

    def test_rejection_names_missing_scope(self) -> None:
        refusal = write_refusal(
            key_with(WRITE), to_document_type(upload_mode=UploadMode.ADMIN_ONLY)
        )
        assert refusal is not None
        assert ADMIN_ONLY in refusal.detail


class TestCustomerDelete:
    """`require_customer_delete`."""

    @pytest.mark.req("A-19")
    @pytest.mark.parametrize("mode", list(UploadMode))
    @pytest.mark.parametrize("allowed", [True, False])
    def test_only_optional_documents_can_be_deleted_when_allowed(
        self, mode: UploadMode, allowed: bool
    ) -> None:
        if allowed and mode is UploadMode.OPTIONAL:
            require_customer_delete(to_document_type(upload_mode=mode), customer_may_delete=allowed)
            return
        with pytest.raises(DeleteNotAllowed):
            require_customer_delete(to_document_type(upload_mode=mode), customer_may_delete=allowed)
