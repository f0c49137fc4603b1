"""The contract as the reference shows it."""

import re

import pytest

from docvault.api.app import create_app
from docvault.api.openapi.reference import reference_document
from docvault.api.openapi.spec import API_NAMES, build_openapi, extract_api

CONTRACTS = {name: extract_api(build_openapi(create_app()), name) for name in API_NAMES}


@pytest.mark.parametrize("api", API_NAMES)
class TestReferenceDocument:
    """reference_document()."""

    def test_each_operation_is_in_one_listed_group(self, api: str) -> None:
        shown = reference_document(CONTRACTS[api], api)
        listed = {tag["name"] for tag in shown["tags"]}
        items = [*shown["paths"].values(), *shown.get("webhooks", {}).values()]
        tags = [one["tags"] for item in items for one in item.values()]
        assert {name for names in tags for name in names} == listed
        assert {len(names) for names in tags} == {1}

    @pytest.mark.req("B-262")
    def test_guides_come_first(self, api: str) -> None:
        description = reference_document(CONTRACTS[api], api)["info"]["description"]
        for title in ("Authentication", "Errors", "Lists", "Uploads", "Repeating requests"):
            assert f"## {title}\n" in description

    def test_nothing_else_differs_from_the_contract(self, api: str) -> None:
        contract, shown = CONTRACTS[api], reference_document(CONTRACTS[api], api)
        assert shown["components"] == contract["components"]
        assert shown["paths"].keys() == contract["paths"].keys()
        for path, item in contract["paths"].items():
            for method, operation in item.items():
                tags = shown["paths"][path][method]["tags"]
                assert shown["paths"][path][method] == {**operation, "tags": tags}


@pytest.mark.req("B-178")
def test_guide_of_customer_api_is_in_contract_and_reference() -> None:
    contract = CONTRACTS["customer"]
    shown = reference_document(contract, "customer")
    for document in (contract, shown):
        assert "## A portal, step by step\n" in document["info"]["description"]
    for api in ("admin", "integration"):
        assert "A portal" not in CONTRACTS[api]["info"]["description"]


def test_guide_of_customer_api_names_only_operations_that_exist() -> None:
    contract = CONTRACTS["customer"]
    named = re.findall(r"`([A-Z]+) (\S+)`", contract["info"]["description"])
    paths = {(method.upper(), path) for path, item in contract["paths"].items() for method in item}
    for method, path in named:
        end = path.removeprefix("…")
        assert [one for one in paths if one[0] == method and one[1].endswith(end)], (method, path)
    assert len(named) > 5
