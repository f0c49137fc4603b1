"""The OpenAPI documents: complete, consistent, current."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from docvault.api.app import create_app
from docvault.api.openapi.spec import API_NAMES, build_openapi, extract_api
from docvault.domain.text import is_line
from docvault.errors import DocvaultError
from docvault.schemas.base import SHOWS_SOMETHING

FOLDER = Path(__file__).parents[2] / "openapi"
WHOLE = build_openapi(create_app())
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
    """Return schema violations of a value; covers the part of JSON Schema that is used."""
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
        return [*found, f"{where}: {value!r} is not of type {schema['type']}"]
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
    """Follow the references of a node."""
    while "$ref" in node:
        found: Any = WHOLE
        for segment in node["$ref"].removeprefix("#/").split("/"):
            found = found[segment]
        node = found
    return node


def nodes(node: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object of the document with its pointer, except those inside examples."""
    if isinstance(node, dict):
        yield where, node
        for key, value in node.items():
            if key not in {"example", "examples"}:
                yield from nodes(value, f"{where}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from nodes(value, f"{where}/{index}")


def examples() -> Iterator[tuple[str, Any, Any]]:
    """Yield every example with its pointer and its schema."""
    for where, node in nodes(WHOLE):
        schema, given = node.get("schema", node), node.get("examples")
        if isinstance(given, list):
            for example in given:
                yield where, schema, example
        elif isinstance(given, dict) and "schema" in node:
            for name, example in given.items():
                yield f"{where}/{name}", schema, resolved(example)["value"]
        if "example" in node and "schema" in node:
            yield where, schema, node["example"]


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

    @pytest.mark.parametrize("audience", API_NAMES)
    def test_api_document_is_current(self, audience: str) -> None:
        committed = json.loads((FOLDER / f"{audience}.json").read_text())
        assert committed == extract_api(WHOLE, audience)

    def test_combined_document_is_current(self) -> None:
        assert json.loads((FOLDER / "openapi.json").read_text()) == WHOLE

    def test_generation_is_deterministic(self) -> None:
        assert build_openapi(create_app()) == WHOLE

    @pytest.mark.parametrize("audience", API_NAMES)
    async def test_document_is_served_without_credential(
        self, http: httpx.AsyncClient, audience: str
    ) -> None:
        response = await http.get(f"/v1/{audience}/openapi.json")
        assert response.status_code == 200
        assert response.json() == extract_api(WHOLE, audience)

    @pytest.mark.parametrize("audience", API_NAMES)
    def test_document_contains_only_paths_of_its_api(self, audience: str) -> None:
        paths = extract_api(WHOLE, audience)["paths"]
        assert paths
        assert all(path.startswith(f"/v1/{audience}/") for path in paths)

    @pytest.mark.parametrize("audience", API_NAMES)
    def test_references_resolve(self, audience: str) -> None:
        document = extract_api(WHOLE, audience)
        known = {
            f"#/components/{kind}/{name}"
            for kind, items in document["components"].items()
            for name in items
        }
        assert set(references(document)) - known == set()

    def test_version_is_openapi_3_1(self) -> None:
        assert WHOLE["openapi"].startswith("3.1")


@pytest.mark.req("R-114")
class TestOperations:
    """Every operation."""

    def test_enough_operations_are_found(self) -> None:
        assert len(AUDIENCE_OPERATIONS) >= 50

    def test_ids_are_unique(self) -> None:
        ids = [operation["operationId"] for operation in OPERATIONS.values()]
        assert len(ids) == len(set(ids))

    def test_ids_are_api_verb_noun(self) -> None:
        verbs = "list|read|create|put|update|delete|upload|save|copy|revoke|order|complete"
        verbs += "|add|remove|rotate|test|replay|retry"
        for (_, path), operation in AUDIENCE_OPERATIONS.items():
            audience = path.split("/")[2]
            assert re.fullmatch(rf"{audience}_({verbs})(_[a-z]+)+", operation["operationId"])

    @pytest.mark.parametrize("member", ["summary", "description"])
    def test_every_operation_has_summary_and_description(self, member: str) -> None:
        assert [o for o, v in OPERATIONS.items() if not v.get(member)] == []

    def test_every_operation_is_tagged_with_its_api(self) -> None:
        wrong = [o for o, v in AUDIENCE_OPERATIONS.items() if v["tags"] != [o[1].split("/")[2]]]
        assert wrong == []

    def test_every_operation_declares_its_security_scheme(self) -> None:
        schemes = {"admin": "adminToken", "customer": "customerToken", "integration": "apiKey"}
        for (_, path), operation in AUDIENCE_OPERATIONS.items():
            assert operation["security"] == [{schemes[path.split("/")[2]]: []}], path
        assert set(schemes.values()) == set(WHOLE["components"]["securitySchemes"])

    def test_every_operation_documents_common_errors(self) -> None:
        for operation in AUDIENCE_OPERATIONS.values():
            assert {"401", "403", "422", "503"} <= operation["responses"].keys()

    def test_every_error_has_example_of_each_code(self) -> None:
        for (method, path), operation in AUDIENCE_OPERATIONS.items():
            for status, response in operation["responses"].items():
                if int(status) < 400:
                    continue
                content = response["content"]["application/problem+json"]
                assert content["examples"], (method, path, status)
                for code, example in content["examples"].items():
                    value = resolved(example)["value"]
                    assert (value["code"], value["status"]) == (code, int(status))

    def test_customer_paths_document_unknown_customer(self) -> None:
        for (method, path), operation in AUDIENCE_OPERATIONS.items():
            if "/customers/{id}/" in path:
                examples = operation["responses"]["404"]["content"]["application/problem+json"]
                assert "customer-not-found" in examples["examples"], (method, path)

    def test_every_success_documents_body_or_its_absence(self) -> None:
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

    def test_every_post_that_returns_no_credential_accepts_idempotency_key(self) -> None:
        # A stored response would keep the credential.
        for (method, path), operation in AUDIENCE_OPERATIONS.items():
            names = {p["name"] for p in operation.get("parameters", []) if p["in"] == "header"}
            returns_credential = path.endswith(
                ("/api-keys", "/content-urls", "/webhooks", "/secret")
            )
            if method == "post":
                assert ("Idempotency-Key" in names) is not returns_credential, path

    def test_uploads_accept_idempotency_key(self) -> None:
        uploads = [v for (m, p), v in OPERATIONS.items() if m == "put" and "/documents/" in p]
        assert len(uploads) == 3
        for operation in uploads:
            names = {p["name"] for p in operation["parameters"]}
            assert {"Idempotency-Key", "If-Match", "If-None-Match"} <= names

    def test_conditional_updates_document_if_match(self) -> None:
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

    def test_examples_validate_against_schemas(self) -> None:
        found = list(examples())
        wrong = {
            f"{where}: {example!r:.80}": bad
            for where, schema, example in found
            if (bad := problems(example, schema))
        }
        assert len(found) > 100
        assert wrong == {}

    def test_validator_detects_mistakes(self) -> None:
        good = next(e for _, s, e in examples() if e.get("code") == "file-too-large")
        assert problems(good, SCHEMAS["FileTooLargeProblem"]) == []
        assert problems(good | {"status": "x"}, SCHEMAS["FileTooLargeProblem"]) != []
        assert problems({}, SCHEMAS["FileTooLargeProblem"]) != []

    def test_schemas_have_names(self) -> None:
        assert [name for name in SCHEMAS if name.startswith("Body_")] == []
        assert [name for name in SCHEMAS if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", name)] == []

    def test_nullable_enum_can_be_null(self) -> None:
        """An `enum` next to a nullable type has to list null, or null is invalid."""
        wrong = [
            where
            for where, schema in nodes(WHOLE)
            if isinstance(schema.get("enum"), list)
            and "null" in schema.get("type", [])
            and None not in schema["enum"]
        ]
        assert wrong == []

    def test_union_members_are_distinct(self) -> None:
        text = json.dumps(WHOLE)
        assert '"anyOf": [{}]' not in text
        for name, schema in SCHEMAS.items():
            for member, value in schema.get("properties", {}).items():
                options = [json.dumps(option, sort_keys=True) for option in value.get("anyOf", [])]
                assert len(options) == len(set(options)), (name, member)

    def test_request_schemas_reject_unknown_members(self) -> None:
        sent = {
            reference.rsplit("/", 1)[1]
            for operation in OPERATIONS.values()
            for content in operation.get("requestBody", {}).get("content", {}).values()
            for reference in references(content["schema"])
        }
        assert sent
        assert [n for n in sent if SCHEMAS[n].get("additionalProperties") is not False] == []

    def test_response_schemas_require_all_members(self) -> None:
        document = SCHEMAS["DocumentRead"]
        assert set(document["required"]) == set(document["properties"])

    @pytest.mark.req("B-120")
    def test_members_have_no_default(self) -> None:
        """Client generators make a member with a default required."""
        wrong = [
            (name, member)
            for name, schema in SCHEMAS.items()
            for member, value in schema.get("properties", {}).items()
            if "default" in value
        ]
        assert wrong == []

    @pytest.mark.req("B-120")
    def test_response_members_are_never_both_optional_and_nullable(self) -> None:
        wrong = [
            (name, member)
            for name, schema in response_schemas()
            for member, value in schema.get("properties", {}).items()
            if member not in schema.get("required", [])
            and {"type": "null"} in value.get("anyOf", [])
        ]
        assert wrong == []

    @pytest.mark.req("B-123")
    def test_errors_of_an_operation_are_told_apart_by_code(self) -> None:
        for (method, path), operation in OPERATIONS.items():
            for status, response in operation["responses"].items():
                content = response.get("content", {}).get("application/problem+json")
                if content is None:
                    continue
                options = content["schema"].get("oneOf", [content["schema"]])
                codes = {resolved(option)["properties"]["code"]["const"] for option in options}
                assert codes == set(content["examples"]), (method, path, status)
                if len(codes) > 1:
                    assert set(content["schema"]["discriminator"]["mapping"]) == codes

    @pytest.mark.req("B-121")
    def test_stored_bytes_have_one_media_type(self) -> None:
        types = {
            media_type
            for operation in OPERATIONS.values()
            for response in operation["responses"].values()
            for media_type, content in response.get("content", {}).items()
            if content.get("schema", {}).get("format") == "binary"
        }
        assert types == {"application/octet-stream"}

    def test_every_problem_code_is_documented(self) -> None:
        documented = set(re.findall(r"urn:docvault:problem:([a-z-]+)", json.dumps(WHOLE)))
        codes = {error.code for error in leaves(DocvaultError)}
        # Sent before an operation is matched, or caused by a bug.
        unreachable = {
            "internal-error",
            "method-not-allowed",
            "header-too-large",
        }
        assert codes - documented - unreachable == set()

    def test_document_names_no_requirement(self) -> None:
        assert re.findall(r"\b[RA]-\d+", json.dumps(WHOLE)) == []

    def test_document_contains_no_implementation_names(self) -> None:
        text = json.dumps(WHOLE)
        for word in ("SQLAlchemy", "pydantic", "docvault.", "Traceback", "HTTPValidationError"):
            assert word not in text


def response_schemas() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the schemas that responses use, with their names."""
    waiting = {r for o in OPERATIONS.values() for r in references(o["responses"])}
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        seen.add(name)
        schema = resolved({"$ref": name})
        waiting |= set(references(schema)) - seen
        yield name.rpartition("/")[2], schema


def leaves(error: type[DocvaultError]) -> Iterator[type[DocvaultError]]:
    subclasses = error.__subclasses__()
    if not subclasses:
        yield error
    for subclass in subclasses:
        yield from leaves(subclass)


def test_non_blank_pattern_agrees_with_service() -> None:
    for code_point in range(1, sys.maxunicode + 1):
        text = chr(code_point)
        is_accepted = bool(text.strip()) and is_line(text)
        assert (re.search(SHOWS_SOMETHING, text) is not None) == is_accepted, code_point
    assert SCHEMAS["DocumentTypeCreate"]["properties"]["name"]["pattern"] == SHOWS_SOMETHING
