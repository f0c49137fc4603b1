"""The OpenAPI documents: the whole, and one for each audience."""

import re
from collections.abc import Iterator
from typing import Any, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from docvault.api.contract_examples import add_examples
from docvault.api.problems import problem_codes, problem_examples
from docvault.schemas.document_batches import DocumentBatchResult, DocumentBatchUpload
from docvault.schemas.documents import DocumentUpload
from docvault.schemas.problems import Problem

AUDIENCES = ("admin", "customer", "integration")

_DESCRIPTION = """\
docvault collects documents from customers.

Every error is a problem document (RFC 9457) with a stable `code`. Unknown body fields and query
parameters are refused. Lists give `items` and `next_cursor`. Times are RFC 3339 in UTC.
"""

_SECURITY_SCHEMES = {
    "adminToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token whose scope contains `docvault:admin`.",
    },
    "customerToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token whose scope contains `docvault:customer`; its subject is the "
        "customer's id.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "A key with scopes, made by staff.",
    },
}

_REFERENCE = re.compile(r"#/components/(\w+)/([^\"'/]+)")


_INPUT: Literal["validation"] = "validation"
_OUTPUT: Literal["serialization"] = "serialization"


def whole_contract(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of everything."""
    document = get_openapi(
        title="docvault",
        version="1",
        summary="A headless service through which a company collects documents from customers.",
        description=_DESCRIPTION,
        routes=app.routes,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        servers=[{"url": "/", "description": "This deployment"}],
        tags=[{"name": name, "description": f"For the {name} audience."} for name in AUDIENCES],
    )
    components = document.setdefault("components", {})
    components["securitySchemes"] = _SECURITY_SCHEMES
    schemas = components.setdefault("schemas", {})
    schemas.update(_unrouted_schemas())
    components["examples"] = problem_examples()
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Problem"]["properties"]["code"]["enum"] = problem_codes()
    for operation in _operations(document):
        _drop_null_parameters(operation)
        for response in operation["responses"].values():
            if response["description"] == "Successful Response":
                response["description"] = f"{operation['summary']}: done."
    add_examples(document)
    return _used_only(_sorted(document))


def audience_contract(whole: dict[str, Any], audience: str) -> dict[str, Any]:
    """Return the part of the whole that one audience uses."""
    prefix = f"/v1/{audience}/"
    return _used_only(
        {
            **whole,
            "info": {**whole["info"], "title": f"docvault: {audience}"},
            "tags": [tag for tag in whole["tags"] if tag["name"] == audience],
            "paths": {
                path: item for path, item in whole["paths"].items() if path.startswith(prefix)
            },
        }
    )


def _drop_null_parameters(operation: dict[str, Any]) -> None:
    """A parameter that may be left out is optional, not null."""
    for parameter in operation.get("parameters", []):
        schema = parameter["schema"]
        options = [item for item in schema.get("anyOf", []) if item.get("type") != "null"]
        if len(options) == 1:
            del schema["anyOf"]
            schema.update(options[0])


def _used_only(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document without the components that nothing in it refers to."""
    components = document["components"]
    used: set[tuple[str, str]] = set(_security_schemes(document))
    waiting = set(_references(document["paths"]))
    while waiting:
        kind, name = waiting.pop()
        used.add((kind, name))
        waiting |= set(_references(components[kind][name])) - used
    return {
        **document,
        "components": {
            kind: {name: item for name, item in items.items() if (kind, name) in used}
            for kind, items in components.items()
        },
    }


def _security_schemes(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for operation in _operations(document):
        for security in operation.get("security", []):
            yield from (("securitySchemes", name) for name in security)


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for item in document["paths"].values():
        yield from item.values()


def _unrouted_schemas() -> dict[str, Any]:
    """Return the schemas that only hand-written parts refer to, and those with nulls in examples.

    FastAPI drops nulls from the document, examples included.
    """
    incoming: list[type[BaseModel]] = [DocumentUpload, DocumentBatchUpload]
    outgoing: list[type[BaseModel]] = [Problem, DocumentBatchResult]
    schemas: dict[str, Any] = {}
    for models, mode in ((incoming, _INPUT), (outgoing, _OUTPUT)):
        _, definitions = models_json_schema(
            [(model, mode) for model in models], ref_template="#/components/schemas/{model}"
        )
        schemas |= definitions["$defs"]
    return schemas


def _references(value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref" and (match := _REFERENCE.fullmatch(item)):
                yield match.group(1), match.group(2)
            else:
                yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def _sorted(document: dict[str, Any]) -> dict[str, Any]:
    """Order paths and schemas, so that a change shows as what it is."""
    components = document["components"]
    components["schemas"] = dict(sorted(components["schemas"].items()))
    return {**document, "paths": dict(sorted(document["paths"].items()))}
