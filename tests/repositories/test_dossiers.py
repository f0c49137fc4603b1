"""A customer with the slots a request is about."""

import httpx
import pytest
from tests.factories.setups import make_customer, make_type, patch_type, upload_of

from docvault.auth.principals import Access
from docvault.models import new_id
from docvault.rules.dossiers import Dossier, SlotChoice
from docvault.services.resources import Resources


async def find(
    resources: Resources, choice: SlotChoice, access: Access | None = None
) -> Dossier | None:
    async with resources.statements(access or Access.everyone()) as unit:
        return await unit.dossiers.find("c-1", choice)


async def keys(resources: Resources, choice: SlotChoice) -> list[str]:
    dossier = await find(resources, choice)
    assert dossier is not None
    return [slot.type.key for slot in dossier.slots]


@pytest.mark.parametrize(
    "choice", [SlotChoice(), SlotChoice("one", "nothing"), SlotChoice("all")], ids=str
)
async def test_without_any_type_there_is_a_customer_without_slots(
    admin: httpx.AsyncClient, resources: Resources, choice: SlotChoice
) -> None:
    await make_customer(admin, "c-1")
    dossier = await find(resources, choice)
    assert dossier is not None
    assert dossier.customer.external_id == "c-1"
    assert dossier.switches.section_enabled
    assert list(dossier.slots) == []


async def test_slots_come_in_the_order_of_the_types_or_one_alone(
    admin: httpx.AsyncClient, resources: Resources
) -> None:
    await make_customer(admin, "c-1")
    for name in ("B", "A"):
        await make_type(admin, name)
    assert await keys(resources, SlotChoice()) == []
    assert await keys(resources, SlotChoice("all")) == ["b", "a"]
    assert await keys(resources, SlotChoice("one", "a")) == ["a"]


@pytest.mark.req("R-060")
async def test_archived_types_show_to_those_who_ask_and_with_a_file_alone(
    admin: httpx.AsyncClient, resources: Resources
) -> None:
    await make_customer(admin, "c-1")
    for name in ("Filled", "Empty"):
        await make_type(admin, name)
    await admin.put("/v1/admin/customers/c-1/documents/filled", **upload_of())
    for key in ("filled", "empty"):
        await patch_type(admin, key, archived=True)
    assert await keys(resources, SlotChoice("all")) == []
    assert await keys(resources, SlotChoice("all", with_archived=True)) == ["filled"]
    assert await keys(resources, SlotChoice("one", "empty", with_archived=True)) == []


async def test_another_customer_is_out_of_reach(
    admin: httpx.AsyncClient, resources: Resources
) -> None:
    await make_customer(admin, "c-1")
    found = await find(resources, SlotChoice())
    assert found is not None
    assert await find(resources, SlotChoice(), Access(found.customer.id)) is not None
    assert await find(resources, SlotChoice(), Access(new_id())) is None
