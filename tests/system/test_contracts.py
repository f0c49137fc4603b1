"""Front ends can be built on the contracts: they are linted, converted to TypeScript and used.

The programs are in the directory `contracts`, with packages from npm.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.fixtures.workshop import AUDIENCES, OPENAPI, PROGRAMS, Workshop

LINTERS = ("redocly.mjs", "spectral.mjs")
# Untyped members: the old and new values of changes.
DELIBERATELY_LOOSE: dict[str, set[str]] = {
    "admin": {"AuditEventRead.changes.*"},
    "customer": set(),
    "integration": set(),
}

pytestmark = pytest.mark.system

each_audience = pytest.mark.parametrize("audience", AUDIENCES)


@dataclass(frozen=True, slots=True)
class Property:
    """A property of generated types."""

    type: str
    optional: bool
    nullable: bool


@dataclass(frozen=True, slots=True)
class Types:
    """Output of inspect.mjs about generated types; paths as `components.schemas.Problem.code`."""

    properties: dict[str, Property]
    loose: list[str]


@dataclass(frozen=True, slots=True)
class Declared:
    """A schema, a property or a parameter, as the contract declares it."""

    schema: dict[str, Any]
    optional: bool = False

    @property
    def nullable(self) -> bool:
        """Whether null is one of its values."""
        return {"type": "null"} in self.schema.get("anyOf", [])


@dataclass(frozen=True, slots=True)
class Complaint:
    """An error that the TypeScript compiler found."""

    file: str
    line: int
    code: str
    text: str


@pytest.fixture(scope="session")
def types(workshop: Workshop) -> dict[str, Types]:
    """Return the types generated for each API, in `types` of the workshop."""
    (workshop.folder / "types").mkdir()
    return {audience: generate(workshop, audience) for audience in AUDIENCES}


@pytest.fixture(scope="session")
def complaints(workshop: Workshop, types: dict[str, Types]) -> list[Complaint]:
    """Return the compiler errors of the programs, and of the programs without expectations."""
    for audience in types:
        program = (workshop.folder / f"{audience}.ts").read_text()
        bare = program.replace("@ts-expect-error", "@refused")
        (workshop.folder / f"{audience}.refused.ts").write_text(bare)
    compiler = "node_modules/typescript/bin/tsc"
    output = workshop.node(compiler, "--pretty", "false", succeeds=False)
    # Continuation lines of an error are indented.
    found = [line for line in output.splitlines() if not line.startswith(" ")]
    return [complaint(line) for line in found]


def generate(workshop: Workshop, audience: str) -> Types:
    document = OPENAPI / f"{audience}.json"
    file = workshop.folder / "types" / f"{audience}.ts"
    file.write_text(workshop.node("generate.mjs", document))
    inspected = json.loads(workshop.node("inspect.mjs", file))
    properties = {path: Property(**facts) for path, facts in inspected["properties"].items()}
    return Types(properties, inspected["loose"])


def complaint(line: str) -> Complaint:
    match = re.fullmatch(r"(\S+)\((\d+),\d+\): error (TS\d+): (.*)", line)
    assert match is not None, line
    file, number, code, text = match.groups()
    return Complaint(file, int(number), code, text)


def contract(audience: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((OPENAPI / f"{audience}.json").read_text())
    return document


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each operation with its method."""
    for item in document["paths"].values():
        yield from item.items()


def declared(document: dict[str, Any]) -> dict[str, Declared]:
    """Return all schemas, properties and parameters, by their paths in the generated types."""
    return dict([*_declared_schemas(document), *_declared_parameters(document)])


def _declared_schemas(document: dict[str, Any]) -> Iterator[tuple[str, Declared]]:
    for name, schema in document["components"]["schemas"].items():
        yield f"components.schemas.{name}", Declared(schema)
        for key, item in schema.get("properties", {}).items():
            optional = key not in schema.get("required", [])
            yield f"components.schemas.{name}.{key}", Declared(item, optional)


def _declared_parameters(document: dict[str, Any]) -> Iterator[tuple[str, Declared]]:
    for _, operation in operations(document):
        for parameter in operation.get("parameters", []):
            place = f"parameters.{parameter['in']}.{parameter['name']}"
            optional = not parameter.get("required", False)
            path = f"operations.{operation['operationId']}.{place}"
            yield path, Declared(parameter["schema"], optional)


def enums(document: dict[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """Yield the values of every enum with its path."""
    for path, item in declared(document).items():
        for schema in (item.schema, *item.schema.get("anyOf", []), item.schema.get("items", {})):
            if "enum" in schema or "const" in schema:
                yield path, schema.get("enum") or [schema["const"]]


def refusals(audience: str) -> set[tuple[int, str]]:
    """Return the lines of a program that must not compile, with the code of the error."""
    lines = (PROGRAMS / f"{audience}.ts").read_text().splitlines()
    found = {
        (number + 1, match.group(1))
        for number, line in enumerate(lines, start=1)
        if (match := re.search(r"// @ts-expect-error (TS\d+) \w", line))
    }
    assert len(found) == sum("// @ts-expect-error" in line for line in lines)
    return found


def break_each_rule(document: dict[str, Any]) -> dict[str, Any]:
    """Break one thing for each rule of the linter."""
    gate = document["paths"]["/v1/customer/gate"]["get"]
    gate["responses"]["200"]["content"]["application/json"]["example"]["decision"] = "closed"
    del gate["responses"]["401"]["headers"]
    document["paths"]["/v1/customer/portal"]["get"]["description"] = ""
    schemas = document["components"]["schemas"]
    schemas["FileRead"]["properties"]["size_bytes"]["examples"] = ["large"]
    schemas["DocumentRead"]["properties"]["type"] = {"$ref": "#/components/schemas/Lost"}
    schemas["Unused"] = {"type": "object"}
    return document


@pytest.mark.req("R-114", "B-140")
@pytest.mark.parametrize("linter", LINTERS)
def test_linter_reports_nothing(workshop: Workshop, linter: str) -> None:
    documents = sorted(OPENAPI.glob("*.json"))
    assert len(documents) == len(AUDIENCES) + 1
    assert workshop.node(linter, *documents).splitlines() == []


@pytest.mark.parametrize(
    ("linter", "rules"),
    [
        (
            "redocly.mjs",
            {
                "no-invalid-media-type-examples",
                "no-invalid-schema-examples",
                "no-unresolved-refs",
                "no-unused-components",
                "operation-description",
                "response-contains-header",
            },
        ),
        (
            "spectral.mjs",
            {
                "invalid-ref",
                "oas3-unused-component",
                "oas3-valid-media-example",
                "operation-description",
            },
        ),
    ],
)
def test_linter_detects_errors(workshop: Workshop, linter: str, rules: set[str]) -> None:
    spoiled = workshop.folder / "spoiled.json"
    spoiled.write_text(json.dumps(break_each_rule(contract("customer"))))
    found = workshop.node(linter, spoiled).splitlines()
    assert {line.split()[0] for line in found} == rules


@each_audience
def test_every_operation_has_types(types: dict[str, Types], audience: str) -> None:
    names = {operation["operationId"] for _, operation in operations(contract(audience))}
    responses = {f"operations.{name}.responses" for name in names}
    assert names
    assert responses <= types[audience].properties.keys()


@each_audience
def test_programs_compile(complaints: list[Complaint], audience: str) -> None:
    files = {f"{audience}.ts", f"types/{audience}.ts", "support.ts"}
    found = [f"{c.file}:{c.line} {c.code} {c.text}" for c in complaints if c.file in files]
    assert not found, "\n".join(found)


@each_audience
def test_invalid_programs_are_rejected_for_stated_reason(
    complaints: list[Complaint], audience: str
) -> None:
    expected = refusals(audience)
    lines = {line for line, _ in expected}
    found = [c for c in complaints if c.file == f"{audience}.refused.ts"]
    assert len(expected) >= 10
    assert {(c.line, c.code) for c in found if c.line in lines} == expected


@each_audience
def test_no_type_is_accidentally_any_or_unknown(types: dict[str, Types], audience: str) -> None:
    # Every response can have headers in addition to the documented ones.
    loose = {path for path in types[audience].loose if not path.endswith(".headers.*")}
    assert loose == {f"components.schemas.{path}" for path in DELIBERATELY_LOOSE[audience]}


@each_audience
def test_schemas_have_meaningful_names(audience: str) -> None:
    names = contract(audience)["components"]["schemas"].keys()
    assert [name for name in names if not re.fullmatch(r"([A-Z][a-z]+)+", name)] == []


@each_audience
def test_enums_are_unions_of_strings(types: dict[str, Types], audience: str) -> None:
    found = list(enums(contract(audience)))
    assert found
    for path, values in found:
        union = " | ".join(json.dumps(value) for value in values)
        assert union in types[audience].properties[path].type, path
        # The status of a problem is a constant.
        assert path.endswith("Problem.status") or all(isinstance(v, str) for v in values), path


@each_audience
def test_nullable_and_optional_members_are_typed(types: dict[str, Types], audience: str) -> None:
    promised = {
        path: (item.optional, item.nullable) for path, item in declared(contract(audience)).items()
    }
    properties = types[audience].properties
    typed = {path: (properties[path].optional, properties[path].nullable) for path in promised}
    assert any(nullable for _, nullable in promised.values())
    assert typed == promised


@each_audience
def test_patch_types_have_no_defaults_or_required_members(audience: str) -> None:
    """In a JSON Merge Patch absent members stay unchanged, whatever their type (RFC 7396)."""
    document = contract(audience)
    changes = [operation for method, operation in operations(document) if method == "patch"]
    assert changes
    for operation in changes:
        body = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        schema = document["components"]["schemas"][body.rpartition("/")[2]]
        properties = schema["properties"].items()
        assert [name for name, item in properties if "default" in item] == [], body
        assert "required" not in schema, body
