"""The OpenAPI documents: the whole, and one for each audience."""

import re
from collections.abc import Iterator
from typing import Any, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from docvault.schemas.document_batches import DocumentBatchUpload
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

_REFERENCE = re.compile(r"#/components/schemas/([^\"'/]+)")


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
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    return _sorted(document)


def audience_contract(whole: dict[str, Any], audience: str) -> dict[str, Any]:
    """Return the part of the whole that one audience uses."""
    prefix = f"/v1/{audience}/"
    paths = {path: item for path, item in whole["paths"].items() if path.startswith(prefix)}
    schemes = {
        name
        for item in paths.values()
        for operation in item.values()
        for security in operation.get("security", [])
        for name in security
    }
    return {
        **whole,
        "info": {**whole["info"], "title": f"docvault: {audience}"},
        "tags": [tag for tag in whole["tags"] if tag["name"] == audience],
        "paths": paths,
        "components": {
            "schemas": _used_schemas(whole, paths),
            "securitySchemes": {
                name: scheme
                for name, scheme in whole["components"]["securitySchemes"].items()
                if name in schemes
            },
        },
    }


def _unrouted_schemas() -> dict[str, Any]:
    """Return the schemas that only hand-written parts of operations refer to."""
    mode: Literal["validation"] = "validation"
    _, definitions = models_json_schema(
        [(model, mode) for model in (DocumentUpload, DocumentBatchUpload, Problem)],
        ref_template="#/components/schemas/{model}",
    )
    schemas: dict[str, Any] = definitions["$defs"]
    return schemas


def _used_schemas(whole: dict[str, Any], paths: dict[str, Any]) -> dict[str, Any]:
    schemas = whole["components"]["schemas"]
    used: set[str] = set()
    waiting = set(_references(paths))
    while waiting:
        name = waiting.pop()
        used.add(name)
        waiting |= set(_references(schemas[name])) - used
    return {name: schemas[name] for name in sorted(used)}


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref" and (match := _REFERENCE.fullmatch(item)):
                yield match.group(1)
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
