"""Builds an example for every JSON body from the examples of its fields."""

from typing import Any

JSON = "application/json"

_STRINGS = {
    "date-time": "2026-11-24T09:12:44Z",
    "uuid": "0193602e-5f3c-7b1a-9d0e-2f6c8a4b1d3e",
    "binary": "(bytes)",
}


def add_examples(document: dict[str, Any]) -> None:
    """Add an example to every JSON request and response."""
    schemas = document["components"]["schemas"]
    for item in document["paths"].values():
        for operation in item.values():
            bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
            for body in bodies:
                content = body.get("content", {}).get(JSON)
                if content is not None and content.get("schema"):
                    content["example"] = example_of(content["schema"], schemas)


def example_of(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """Return the first example of a schema, or build one from its parts."""
    if "examples" in schema:
        return schema["examples"][0]
    if "$ref" in schema:
        return example_of(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    for name in ("const", "default"):
        if name in schema:
            return schema[name]
    if "enum" in schema:
        return schema["enum"][0]
    for name in ("anyOf", "allOf", "oneOf"):
        if name in schema:
            return example_of(schema[name][0], schemas)
    return _typed_example(schema, schemas)


def _typed_example(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:  # noqa: ANN401 - JSON
    kind = schema.get("type")
    if kind == "object":
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        return {
            name: example_of(item, schemas) for name, item in properties.items() if name in required
        }
    if kind == "array":
        return [example_of(schema["items"], schemas)]
    if kind == "string":
        return _STRINGS.get(schema.get("format", ""), "text")
    return {"integer": 1, "number": 1.0, "boolean": False, "null": None}.get(str(kind))
