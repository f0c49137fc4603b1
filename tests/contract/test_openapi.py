"""The OpenAPI documents: complete, consistent, current."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from docvault.api.contract import AUDIENCES, audience_contract, whole_contract
from docvault.app import create_app
from docvault.errors import DocvaultError
from docvault.schemas.base import SHOWS_SOMETHING

FOLDER = Path(__file__).parents[2] / "openapi"
WHOLE = whole_contract(create_app())
SCHEMAS: dict[str, Any] = WHOLE["components"]["schemas"]
OPERATIONS = {
    (method, path): operation
    for path, item in WHOLE["paths"].items()
    for method, operation in item.items()
}
AUDIENCE_OPERATIONS = {o: v for o, v in OPERATIONS.items() if o[1].startswith("/v1/")}
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def problems(value: Any, schema: Any, where: str = "$") -> list[str]:
    """What is wrong with a value: the part of JSON Schema that the contract uses."""
    if "$ref" in schema:
        return problems(value, SCHEMAS[schema["$ref"].rsplit("/", 1)[1]], where)
    found = [
        f"{where}: matches no {word}"
        for word in ("anyOf", "oneOf")
        if word in schema and all(problems(value, option, where) for option in schema[word])
    ]
    for option in schema.get("allOf", []):
        found += problems(value, option, where)
    if "type" in schema and not has_type(value, schema["type"]):
        return [*found, f"{where}: {value!r} is no {schema['type']}"]
    if "const" in schema and value != schema["const"]:
        found.append(f"{where}: {value!r} is not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{where}: {value!r} is not in {schema['enum']}")
    return found + problems_by_kind(value, schema, where)


def has_type(value: Any, names: str | list[str]) -> bool:
    names = [names] if isinstance(names, str) else names
    if isinstance(value, bool):
        return "boolean" in names
    return any(isinstance(value, TYPES[name]) for name in names)


def problems_by_kind(value: Any, schema: Any, where: str) -> list[str]:
    if isinstance(value, dict):
        return problems_of_object(value, schema, where)
    if isinstance(value, list):
        found = [
            problem
            for index, item in enumerate(value)
            for problem in problems(item, schema.get("items", {}), f"{where}[{index}]")
        ]
        return found + bounds(len(value), schema, "minItems", "maxItems", where)
    if isinstance(value, str):
        found = bounds(len(value), schema, "minLength", "maxLength", where)
        if "pattern" in schema and not re.search(schema["pattern"], value):
            found.append(f"{where}: {value!r} does not match {schema['pattern']}")
        return found
    if isinstance(value, int | float):
        return bounds(value, schema, "minimum", "maximum", where)
    return []


def problems_of_object(value: dict[str, Any], schema: Any, where: str) -> list[str]:
    members = schema.get("properties", {})
    found = [f"{where}: lacks {name}" for name in schema.get("required", []) if name not in value]
    for name, item in value.items():
        if name in members:
            found += problems(item, members[name], f"{where}.{name}")
        elif schema.get("additionalProperties") is False:
            found.append(f"{where}: has {name}")
        elif isinstance(schema.get("additionalProperties"), dict):
            found += problems(item, schema["additionalProperties"], f"{where}.{name}")
    return found


def bounds(size: float, schema: Any, low: str, high: str, where: str) -> list[str]:
    good = schema.get(low, size) <= size <= schema.get(high, size)
    return [] if good else [f"{where}: {size} is out of bounds"]


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    """What a reference leads to."""
    while "$ref" in node:
        found: Any = WHOLE
        for segment in node["$ref"].removeprefix("#/").split("/"):
            found = found[segment]
        node = found
    return node


def nodes(node: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of the document with its place, those inside examples left out."""
    if isinstance(node, dict):
        yield where, node
        for key, value in node.items():
            if key not in {"example", "examples"}:
                yield from nodes(value, f"{where}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from nodes(value, f"{where}/{index}")


def examples() -> Iterator[tuple[str, Any, Any]]:
    """Every example with its place and the schema it stands beside."""
    for where, node in nodes(WHOLE):
        schema, given = node.get("schema", node), node.get("examples")
        if isinstance(given, list):
            for example in given:
                yield where, schema, example
        elif isinstance(given, dict) and "schema" in node:
            for name, example in given.items():
                yield f"{where}/{name}", schema, resolved(example)["value"]


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


@pytest.mark.req("R-114")
class TestCommitted:
    """openapi/*.json."""

    @pytest.mark.parametrize("audience", AUDIENCES)
    def test_an_audiences_document_is_current(self, audience: str) -> None:
        committed = json.loads((FOLDER / f"{audience}.json").read_text())
        assert committed == audience_contract(WHOLE, audience)

    def test_the_whole_is_current(self) -> None:
        assert json.loads((FOLDER / "openapi.json").read_text()) == WHOLE

    def test_generating_twice_gives_the_same(self) -> None:
        assert whole_contract(create_app()) == WHOLE

    @pytest.mark.parametrize("audience", AUDIENCES)
    async def test_it_is_served_without_a_credential(
        self, http: httpx.AsyncClient, audience: str
    ) -> None:
        answer = await http.get(f"/v1/{audience}/openapi.json")
        assert answer.status_code == 200
        assert answer.json() == audience_contract(WHOLE, audience)

    @pytest.mark.parametrize("audience", AUDIENCES)
    def test_it_holds_its_own_paths_alone(self, audience: str) -> None:
        paths = audience_contract(WHOLE, audience)["paths"]
        assert paths
        assert all(path.startswith(f"/v1/{audience}/") for path in paths)

    @pytest.mark.parametrize("audience", AUDIENCES)
    def test_every_reference_leads_somewhere(self, audience: str) -> None:
        document = audience_contract(WHOLE, audience)
        known = {
            f"#/components/{kind}/{name}"
            for kind, items in document["components"].items()
            for name in items
        }
        assert set(references(document)) - known == set()

    def test_it_is_openapi_3_1(self) -> None:
        assert WHOLE["openapi"].startswith("3.1")


@pytest.mark.req("R-114")
class TestOperations:
    """Every operation."""

    def test_there_are_enough_to_be_worth_checking(self) -> None:
        assert len(AUDIENCE_OPERATIONS) >= 50

    def test_ids_are_unique(self) -> None:
        ids = [operation["operationId"] for operation in OPERATIONS.values()]
        assert len(ids) == len(set(ids))

    def test_ids_are_audience_verb_noun(self) -> None:
        verbs = "list|read|create|put|update|delete|upload|save|copy|revoke|order|complete"
        for (_, path), operation in AUDIENCE_OPERATIONS.items():
            audience = path.split("/")[2]
            assert re.fullmatch(rf"{audience}_({verbs})(_[a-z]+)+", operation["operationId"])

    @pytest.mark.parametrize("member", ["summary", "description"])
    def test_each_says_what_it_does(self, member: str) -> None:
        assert [o for o, v in OPERATIONS.items() if not v.get(member)] == []

    def test_each_has_one_tag_its_audience(self) -> None:
        wrong = [o for o, v in AUDIENCE_OPERATIONS.items() if v["tags"] != [o[1].split("/")[2]]]
        assert wrong == []

    def test_each_names_the_credential_of_its_audience(self) -> None:
        schemes = {"admin": "adminToken", "customer": "customerToken", "integration": "apiKey"}
        for (_, path), operation in AUDIENCE_OPERATIONS.items():
            assert operation["security"] == [{schemes[path.split("/")[2]]: []}], path
        assert set(schemes.values()) == set(WHOLE["components"]["securitySchemes"])

    def test_each_tells_every_common_error(self) -> None:
        for operation in AUDIENCE_OPERATIONS.values():
            assert {"401", "403", "422", "503"} <= operation["responses"].keys()

    def test_errors_are_problems_with_an_example_of_each_code(self) -> None:
        for (method, path), operation in AUDIENCE_OPERATIONS.items():
            for status, response in operation["responses"].items():
                if int(status) < 400:
                    continue
                content = response["content"]["application/problem+json"]
                assert content["examples"], (method, path, status)
                for code, example in content["examples"].items():
                    value = resolved(example)["value"]
                    assert (value["code"], value["status"]) == (code, int(status))

    def test_each_path_with_a_customer_can_be_unknown(self) -> None:
        for (method, path), operation in AUDIENCE_OPERATIONS.items():
            if "/customers/{id}/" in path:
                examples = operation["responses"]["404"]["content"]["application/problem+json"]
                assert "customer-unknown" in examples["examples"], (method, path)

    def test_each_success_has_a_body_or_says_it_has_none(self) -> None:
        for (method, path), operation in AUDIENCE_OPERATIONS.items():
            good = {s: r for s, r in operation["responses"].items() if s.startswith("2")}
            assert good, (method, path)
            for status, response in good.items():
                assert response["description"]
                assert status in {"202", "204"} or "content" in response, (method, path)

    def test_every_parameter_is_described(self) -> None:
        lacking = [
            (operation["operationId"], parameter["name"])
            for operation in AUDIENCE_OPERATIONS.values()
            for parameter in operation.get("parameters", [])
            if not parameter.get("description")
        ]
        assert lacking == []

    def test_every_post_but_key_creation_takes_an_idempotency_key(self) -> None:
        for (method, path), operation in AUDIENCE_OPERATIONS.items():
            names = {p["name"] for p in operation.get("parameters", []) if p["in"] == "header"}
            if method == "post" and path != "/v1/admin/api-keys":
                assert "Idempotency-Key" in names, path
            if path == "/v1/admin/api-keys":
                assert "Idempotency-Key" not in names

    def test_uploads_take_an_idempotency_key(self) -> None:
        uploads = [v for (m, p), v in OPERATIONS.items() if m == "put" and "/documents/" in p]
        assert len(uploads) == 3
        for operation in uploads:
            names = {p["name"] for p in operation["parameters"]}
            assert {"Idempotency-Key", "If-Match", "If-None-Match"} <= names

    def test_conditional_updates_say_so(self) -> None:
        for path in ("/v1/admin/settings/portal", "/v1/admin/document-types/{key}"):
            operation = WHOLE["paths"][path]["patch"]
            required = {p["name"]: p.get("required") for p in operation["parameters"]}
            assert required["If-Match"] is True
            assert {"412", "428"} <= operation["responses"].keys()

    def test_paths_are_plural_kebab_case(self) -> None:
        segment = re.compile(r"[a-z]+(-[a-z]+)*|\{[a-z_]+\}|[a-z]+\.json")
        for _, path in AUDIENCE_OPERATIONS:
            assert all(segment.fullmatch(part) for part in path.split("/")[3:]), path

    def test_query_parameters_are_snake_case(self) -> None:
        names = {
            p["name"]
            for operation in OPERATIONS.values()
            for p in operation.get("parameters", [])
            if p["in"] == "query"
        }
        assert names
        assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in names)


@pytest.mark.req("R-114")
class TestSchemas:
    """Every schema."""

    def test_every_example_validates(self) -> None:
        found = list(examples())
        wrong = {
            f"{where}: {example!r:.80}": bad
            for where, schema, example in found
            if (bad := problems(example, schema))
        }
        assert len(found) > 100
        assert wrong == {}

    def test_the_validator_finds_mistakes(self) -> None:
        good = next(e for _, s, e in examples() if s.get("$ref", "").endswith("/Problem"))
        assert problems(good, SCHEMAS["Problem"]) == []
        assert problems(good | {"status": "x"}, SCHEMAS["Problem"]) != []
        assert problems({}, SCHEMAS["Problem"]) != []

    def test_none_is_anonymous(self) -> None:
        assert [name for name in SCHEMAS if name.startswith("Body_")] == []
        assert [name for name in SCHEMAS if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", name)] == []

    def test_a_nullable_enum_can_be_null(self) -> None:
        """`enum` beside a type that allows null has to list null, or null is refused."""
        wrong = [
            where
            for where, schema in nodes(WHOLE)
            if isinstance(schema.get("enum"), list)
            and "null" in schema.get("type", [])
            and None not in schema["enum"]
        ]
        assert wrong == []

    def test_no_two_options_of_a_choice_are_the_same(self) -> None:
        text = json.dumps(WHOLE)
        assert '"anyOf": [{}]' not in text
        for name, schema in SCHEMAS.items():
            for member, value in schema.get("properties", {}).items():
                options = [json.dumps(option, sort_keys=True) for option in value.get("anyOf", [])]
                assert len(options) == len(set(options)), (name, member)

    def test_what_callers_send_refuses_unknown_members(self) -> None:
        sent = {
            reference.rsplit("/", 1)[1]
            for operation in OPERATIONS.values()
            for content in operation.get("requestBody", {}).get("content", {}).values()
            for reference in references(content["schema"])
        }
        # The file parts of a batch have whatever names its items give them.
        sent.remove("DocumentBatchUpload")
        assert sent
        assert [n for n in sent if SCHEMAS[n].get("additionalProperties") is not False] == []

    def test_what_callers_get_lists_every_member_as_required(self) -> None:
        document = SCHEMAS["DocumentRead"]
        assert set(document["required"]) == set(document["properties"])

    def test_every_problem_code_is_announced_somewhere(self) -> None:
        announced = set(re.findall(r"urn:docvault:problem:([a-z-]+)", json.dumps(WHOLE)))
        codes = {error.code for error in leaves(DocvaultError)}
        # Answered before there is an operation, or a bug.
        unreachable = {
            "internal-error",
            "not-acceptable",
            "method-not-allowed",
            "header-too-large",
        }
        assert codes - announced - unreachable == set()

    def test_the_document_names_no_class_of_the_implementation(self) -> None:
        text = json.dumps(WHOLE)
        for word in ("SQLAlchemy", "pydantic", "docvault.", "Traceback", "HTTPValidationError"):
            assert word not in text


def leaves(error: type[DocvaultError]) -> Iterator[type[DocvaultError]]:
    subclasses = error.__subclasses__()
    if not subclasses:
        yield error
    for subclass in subclasses:
        yield from leaves(subclass)


def test_the_pattern_for_what_is_not_blank_lets_through_what_the_service_does() -> None:
    for code_point in range(1, sys.maxunicode + 1):
        text = chr(code_point)
        assert (re.search(SHOWS_SOMETHING, text) is None) == (not text.strip()), code_point
    assert SCHEMAS["DocumentTypeCreate"]["properties"]["name"]["pattern"] == SHOWS_SOMETHING
