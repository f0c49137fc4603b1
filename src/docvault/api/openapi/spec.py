"""The OpenAPI documents: a complete one, and one for each API."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from docvault.api.http.parameters import CustomerIdPath, DocumentTypeKey
from docvault.api.http.problems import problem_examples
from docvault.api.openapi.example_builder import add_examples
from docvault.api.openapi.problem_schemas import add_item_problems, problem_schemas
from docvault.api.openapi.webhook_messages import message_schemas, message_webhooks
from docvault.schemas.document_batches import DocumentBatchResult, DocumentBatchUpload
from docvault.schemas.documents import DocumentUpload, FileUpload

_STATIC = Path(__file__).parent / "static"
API_NAMES = ("admin", "customer", "integration")

_DESCRIPTION = """\
docvault collects documents from customers.

Every error is a problem document (RFC 9457) with a stable `code`. Unknown body fields and query
parameters are rejected. Lists return `items` and `next_cursor`. Times are RFC 3339 in UTC.
"""

_SECURITY_SCHEMES = {
    "adminToken": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token whose scope contains `docvault:admin`. `docvault:auditor` is "
        "enough for events and audit events.",
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
        "description": "A key with scopes, created by staff.",
    },
}

# Path parameters that the guard reads, so that endpoints need not take them.
_GUARDED_PARAMETERS: dict[str, Any] = {"id": CustomerIdPath, "key": DocumentTypeKey}
_PATH_PARAMETER = re.compile(r"\{(\w+)\}")
_REFERENCE = re.compile(r"#/components/(\w+)/([^\"'/]+)")

_INPUT: Literal["validation"] = "validation"
_OUTPUT: Literal["serialization"] = "serialization"


def build_openapi(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of the whole service."""
    document = get_openapi(
        title="docvault",
        version="1",
        summary="A headless service through which a company collects documents from customers.",
        description=_DESCRIPTION,
        routes=app.routes,
        contact={"name": "The operator of this deployment"},
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        servers=[{"url": "/", "description": "This deployment"}],
        tags=[
            *({"name": name, "description": f"The {name} API."} for name in API_NAMES),
            {"name": "operations", "description": "Health checks, and transfers by signed URLs."},
        ],
    )
    components = document.setdefault("components", {})
    components["securitySchemes"] = _SECURITY_SCHEMES
    schemas = components.setdefault("schemas", {})
    schemas.update(_unrouted_schemas())
    schemas.update(problem_schemas())
    schemas.update(message_schemas() | schemas)
    add_item_problems(schemas)
    components["examples"] = problem_examples()
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for schema in schemas.values():
        _describe_defaults(schema)
    for path, item in document["paths"].items():
        for operation in item.values():
            _document_path_parameters(path, operation)
    for operation in _operations(document):
        _drop_null_parameters(operation)
        for response in operation["responses"].values():
            if response["description"] == "Successful Response":
                response["description"] = "Success."
    add_examples(document)
    document["webhooks"] = message_webhooks()
    return _used_only(_sorted(document))


def extract_api(full: dict[str, Any], api: str) -> dict[str, Any]:
    """Return the part of the full document that describes one API."""
    prefix = f"/v1/{api}/"
    # Only staff manage webhooks.
    kept = full if api == "admin" else {key: full[key] for key in full if key != "webhooks"}
    return _used_only(
        {
            **kept,
            "info": {
                **full["info"],
                "title": f"docvault: {api}",
                "description": "\n".join([full["info"]["description"], *api_guide(api)]),
            },
            "tags": [tag for tag in full["tags"] if tag["name"] == api],
            "paths": {
                path: item for path, item in full["paths"].items() if path.startswith(prefix)
            },
        }
    )


def api_guide(api: str) -> list[str]:
    """Return the guide that only one API has, if it has one."""
    path = _STATIC / f"guide_{api}.md"
    return [path.read_text()] if path.exists() else []


def _document_path_parameters(path: str, operation: dict[str, Any]) -> None:
    """Document all path parameters, in the order of the path."""
    parameters = operation.get("parameters", [])
    declared = {item["name"]: item for item in parameters if item["in"] == "path"}
    in_path = [
        declared.get(name) or _path_parameter(name) for name in _PATH_PARAMETER.findall(path)
    ]
    if in_path:
        operation["parameters"] = [*in_path, *(p for p in parameters if p["in"] != "path")]


def _path_parameter(name: str) -> dict[str, Any]:
    schema = TypeAdapter(_GUARDED_PARAMETERS[name]).json_schema()
    return {
        "name": name,
        "in": "path",
        "required": True,
        "schema": {**schema, "title": name.title()},
        "description": schema["description"],
    }


def _describe_defaults(schema: dict[str, Any]) -> None:
    """Move the defaults of optional members into their descriptions.

    Client generators make a member with a default required. A response always has its members;
    their defaults are only for stored responses of earlier versions.
    """
    required = schema.get("required", [])
    for name, item in schema.get("properties", {}).items():
        default = item.pop("default", None)
        if default is not None and name not in required:
            text = f"By default `{json.dumps(default)}`."
            item["description"] = " ".join(filter(None, (item.get("description"), text)))


def _drop_null_parameters(operation: dict[str, Any]) -> None:
    """Drop `null` from the types of parameters: they are optional, never null."""
    for parameter in operation.get("parameters", []):
        schema = parameter["schema"]
        options = [item for item in schema.get("anyOf", []) if item.get("type") != "null"]
        if len(options) == 1:
            del schema["anyOf"]
            schema.update(options[0])


def _used_only(document: dict[str, Any]) -> dict[str, Any]:
    """Return the document without unused components."""
    components = document["components"]
    used: set[tuple[str, str]] = set(_security_schemes(document))
    waiting = set(_references([document["paths"], document.get("webhooks", {})]))
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
    """Return schemas used only by hand-written parts, and those with nulls in examples.

    FastAPI drops nulls from the document, examples included.
    """
    incoming: list[type[BaseModel]] = [DocumentUpload, FileUpload, DocumentBatchUpload]
    outgoing: list[type[BaseModel]] = [DocumentBatchResult]
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
    """Sort paths and schemas, so that diffs are minimal."""
    components = document["components"]
    components["schemas"] = dict(sorted(components["schemas"].items()))
    return {**document, "paths": dict(sorted(document["paths"].items()))}
