"""The schemas of problems: one for each code, and unions that `code` tells apart."""

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from docvault.api.http.problems import all_errors, problem_schema, schema_name
from docvault.api.integration.customers import ITEM_ERRORS as CUSTOMER_ITEM_ERRORS
from docvault.api.shared.document_batches import ITEM_ERRORS as DOCUMENT_ITEM_ERRORS
from docvault.errors import DocvaultError
from docvault.errors.details import DETAIL_CODES
from docvault.presenters.problems import TYPE_PREFIX
from docvault.schemas.problems import PROBLEM_MEMBERS, Problem, ProblemError

_OUTPUT: Literal["serialization"] = "serialization"
_REFERENCES = "#/components/schemas/{model}"
# A single value can be to blame for these; all others concern the request as a whole.
_LOCATED_STATUSES = {400, 413, 415, 422}
_LOCATED_CODES = {"customer-exists", "key-conflict", "name-conflict"}


def problem_schemas() -> dict[str, Any]:
    """Return a schema for each problem code, and those that they refer to."""
    models: list[type[BaseModel]] = [Problem, ProblemError, *PROBLEM_MEMBERS.values()]
    _, found = models_json_schema([(model, _OUTPUT) for model in models], ref_template=_REFERENCES)
    definitions = found["$defs"]
    common = definitions["Problem"]
    extra = {code: definitions[model.__name__] for code, model in PROBLEM_MEMBERS.items()}
    definitions["ProblemError"]["properties"]["code"]["enum"] = _detail_codes()
    for params in definitions["ProblemParams"]["properties"].values():
        params.pop("default", None)
    return {
        **{name: definitions[name] for name in ("ProblemError", "ProblemParams")},
        **{schema_name(error): _schema(error, common, extra) for error in all_errors()},
    }


def add_item_problems(schemas: dict[str, Any]) -> None:
    """Type the problems of single items of a batch."""
    for name, errors in (
        ("DocumentBatchResult", DOCUMENT_ITEM_ERRORS),
        ("CustomerBatchResult", CUSTOMER_ITEM_ERRORS),
    ):
        schemas[name]["properties"]["problem"] = _nullable(errors)


def _nullable(errors: Iterable[type[DocvaultError]]) -> dict[str, Any]:
    options = [problem_schema(errors), {"type": "null"}]
    return {"anyOf": options, "title": "Problem", "examples": [None]}


def _schema(
    error: type[DocvaultError], common: dict[str, Any], extra: dict[str, Any]
) -> dict[str, Any]:
    members = extra.get(error.code, {"properties": {}, "required": []})
    constants = {"type": TYPE_PREFIX + error.code, "code": error.code, "status": error.status}
    properties = {
        name: {**schema, "const": constants[name], "examples": [constants[name]]}
        if name in constants
        else {key: value for key, value in schema.items() if key != "examples"}
        for name, schema in common["properties"].items()
    }
    return {
        "type": "object",
        "title": schema_name(error),
        "description": error.default_detail(),
        "properties": {**properties, **members["properties"]},
        "required": [*common["required"], *members["required"]],
    }


def _detail_codes() -> list[str]:
    return sorted({*DETAIL_CODES, *_located_codes()})


def _located_codes() -> Iterator[str]:
    for error in all_errors():
        if error.status in _LOCATED_STATUSES or error.code in _LOCATED_CODES:
            yield error.code
