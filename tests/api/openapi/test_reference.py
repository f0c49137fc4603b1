"""The contract as the reference shows it."""

import pytest

from docvault.api.app import create_app
from docvault.api.openapi.reference import reference_document
from docvault.api.openapi.spec import API_NAMES, build_openapi, extract_api

CONTRACTS = {name: extract_api(build_openapi(create_app()), name) for name in API_NAMES}


@pytest.mark.parametrize("api", API_NAMES)
class TestReferenceDocument:
    """reference_document()."""

    def test_each_operation_is_in_one_listed_group(self, api: str) -> None:
        shown = reference_document(CONTRACTS[api])
        listed = {tag["name"] for tag in shown["tags"]}
        items = [*shown["paths"].values(), *shown.get("webhooks", {}).values()]
        tags = [one["tags"] for item in items for one in item.values()]
        assert {name for names in tags for name in names} == listed
        assert {len(names) for names in tags} == {1}

    @pytest.mark.req("B-262")
    def test_guides_come_first(self, api: str) -> None:
        description = reference_document(CONTRACTS[api])["info"]["description"]
        for title in ("Authentication", "Errors", "Lists", "Uploads", "Repeating requests"):
            assert f"## {title}\n" in description

    def test_nothing_else_differs_from_the_contract(self, api: str) -> None:
        contract, shown = CONTRACTS[api], reference_document(CONTRACTS[api])
        assert shown["components"] == contract["components"]
        assert shown["paths"].keys() == contract["paths"].keys()
        for path, item in contract["paths"].items():
            for method, operation in item.items():
                tags = shown["paths"][path][method]["tags"]
                assert shown["paths"][path][method] == {**operation, "tags": tags}
