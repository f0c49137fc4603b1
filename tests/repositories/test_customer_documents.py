"""A customer with the documents that a request refers to."""

import httpx
import pytest
from tests.factories.contexts import customer_context
from tests.factories.setups import make_customer, make_type, patch_type, upload_of

from docvault.context import RequestContext
from docvault.db.tables import new_id
from docvault.domain.customer_documents import CustomerDocuments, DocumentSelection
from docvault.services.resources import Resources


async def find(
    resources: Resources, choice: DocumentSelection, context: RequestContext | None = None
) -> CustomerDocuments | None:
    async with resources.autocommit(context or resources.system_context()) as uow:
        return await uow.customer_documents.find("c-1", choice)


async def keys(resources: Resources, choice: DocumentSelection) -> list[str]:
    customer_documents = await find(resources, choice)
    assert customer_documents is not None
    return [document.type.key for document in customer_documents.documents]


@pytest.mark.parametrize(
    "choice",
    [DocumentSelection(), DocumentSelection("one", "nothing"), DocumentSelection("all")],
    ids=str,
)
async def test_customer_without_types_has_no_documents(
    admin: httpx.AsyncClient, resources: Resources, choice: DocumentSelection
) -> None:
    await make_customer(admin, "c-1")
    customer_documents = await find(resources, choice)
    assert customer_documents is not None
    assert customer_documents.customer.external_id == "c-1"
    assert customer_documents.switches.section_enabled
    assert list(customer_documents.documents) == []


async def test_documents_follow_type_order_or_single_selection(
    admin: httpx.AsyncClient, resources: Resources
) -> None:
    await make_customer(admin, "c-1")
    for name in ("B", "A"):
        await make_type(admin, name)
    assert await keys(resources, DocumentSelection()) == []
    assert await keys(resources, DocumentSelection("all")) == ["b", "a"]
    assert await keys(resources, DocumentSelection("one", "a")) == ["a"]


@pytest.mark.req("R-060")
async def test_archived_types_are_selected_on_request_and_with_file(
    admin: httpx.AsyncClient, resources: Resources
) -> None:
    await make_customer(admin, "c-1")
    for name in ("Filled", "Empty"):
        await make_type(admin, name)
    await admin.put("/v1/admin/customers/c-1/documents/filled", **upload_of())
    for key in ("filled", "empty"):
        await patch_type(admin, key, archived=True)
    assert await keys(resources, DocumentSelection("all")) == []
    assert await keys(resources, DocumentSelection("all", with_archived=True)) == ["filled"]
    assert await keys(resources, DocumentSelection("one", "empty", with_archived=True)) == []


async def test_other_customer_is_not_found(admin: httpx.AsyncClient, resources: Resources) -> None:
    await make_customer(admin, "c-1")
    found = await find(resources, DocumentSelection())
    assert found is not None
    assert (
        await find(resources, DocumentSelection(), customer_context(found.customer.id)) is not None
    )
    assert await find(resources, DocumentSelection(), customer_context(new_id())) is None
