"""Writes docs/reference from the code: `make reference`. A test checks that it was run.

Texts that are not in the code, such as the meaning of a setting, are in `settings.py`.
"""

import asyncio
import inspect
import json
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from textwrap import fill
from typing import Any

import typer
import yaml
from prometheus_client.core import Metric
from prometheus_client.metrics import MetricWrapperBase

from docvault import errors
from docvault.cli.main import app
from docvault.domain.media_type_names import REFUSED_NAMES
from docvault.domain.media_types import KINDS, KNOWN_MEDIA_TYPES
from docvault.errors.details import DETAIL_CODES, DETAIL_PARAMETERS
from docvault.observability.backlog import Backlog
from docvault.observability.metrics import REGISTRY
from docvault.schemas.problems import PROBLEM_MEMBERS
from docvault.settings import Settings, variable_of
from tools.reference.kinds import RECOGNIZED, REFUSED
from tools.reference.settings import NOTES, SETTINGS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "reference"
GENERATED = "<!-- Written by `make reference`. -->"

WHAT_TO_DO = {
    400: "Correct the request.",
    401: "Send a valid credential, for example a new token.",
    403: "The caller lacks the right; do not repeat the request.",
    404: "The resource does not exist, or the caller may not see it.",
    409: "Look at the current state, then decide.",
    410: "Start again with a new upload session.",
    412: "Read the resource again and repeat the change with its new `ETag`.",
    422: "Correct the request; `errors` names each problem with a pointer or parameter.",
    428: "Send `If-Match` with the `ETag` of the resource.",
    429: "Wait for the seconds in `Retry-After`, then repeat the request.",
    503: "Wait for the seconds in `Retry-After`, then repeat the request under the same"
    " `Idempotency-Key`.",
}


def table(*columns: str, rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def page(title: str, introduction: str, *parts: str) -> str:
    """Return a page with its title, the note that it is generated, and its parts."""
    wrapped = fill(introduction, 100, break_on_hyphens=False)
    return "\n".join([f"# {title}\n", GENERATED, "", f"{wrapped}\n", *parts])


def section(title: str, *paragraphs: str) -> str:
    """Return a section of a page."""
    return "\n".join([f"## {title}\n", *paragraphs])


def default_of(field: str) -> str:
    """Return the default of a setting as one would write it in the environment."""
    value = Settings.model_fields[field].default
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`{','.join(value)}`"
    return str(value) if isinstance(value, int | float) else f"`{value}`"


def settings_rows(topic: str) -> Iterator[tuple[str, str, str]]:
    """Return the rows of one topic."""
    for field, text in SETTINGS[topic].items():
        yield f"`{variable_of(field)}`", text.default or default_of(field), text.meaning


def configuration() -> str:
    """Return the page about settings; fail if a setting has no text or a text no setting."""
    described = {field for topic in SETTINGS.values() for field in topic}
    difference = described ^ set(Settings.model_fields)
    if difference:
        raise ValueError(
            f"tools/reference/settings.py and docvault/settings.py differ: {sorted(difference)}"
        )
    sections = []
    for topic in SETTINGS:
        rows = table("variable", "default", "meaning", rows=list(settings_rows(topic)))
        note = f"{NOTES[topic]}\n" if topic in NOTES else ""
        sections.append(section(topic, *filter(None, [note, rows])))
    return page(
        "Configuration",
        "Settings are environment variables, or files in `/run/secrets` with the same name in lower"
        " case; a variable takes precedence. The defaults are those of `make run`. docvault does"
        " not start with an unknown `DOCVAULT_…` variable, with settings that contradict each"
        " other, or with a secret from an example. Sizes are in bytes.",
        *sections,
    )


def error_classes(
    base: type[errors.DocvaultError] = errors.DocvaultError,
) -> Iterator[type[errors.DocvaultError]]:
    """Return every class of error with a code, each after its base class."""
    if hasattr(base, "code"):
        yield base
    for error in base.__subclasses__():
        if error.__module__.startswith(errors.__name__):  # not one defined by a test
            yield from error_classes(error)


def descriptions() -> dict[tuple[int, str], tuple[str, str]]:
    """Return title and meaning of each status and code; those of a subclass replace its base's."""
    found: dict[tuple[int, str], tuple[str, str]] = {}
    for error in error_classes():
        title, meaning = error.title(), error().detail
        found[error.status, error.code] = title, "" if meaning == f"{title}." else meaning
    return found


def documenting_apis() -> dict[tuple[int, str], set[str]]:
    """Return the APIs whose operations document each status and code."""
    contract = json.loads((ROOT / "openapi" / "openapi.json").read_text())
    found: dict[tuple[int, str], set[str]] = {}
    for path, item in contract["paths"].items():
        api = path.split("/")[2] if path.startswith("/v1/") else None
        if api in {"admin", "customer", "integration"}:
            for key in chain.from_iterable(map(documented_errors, item.values())):
                found.setdefault(key, set()).add(api)
    return found


def documented_errors(operation: dict[str, Any]) -> Iterator[tuple[int, str]]:
    """Return status and code of each error that an operation documents."""
    for status, response in operation["responses"].items():
        content = response.get("content", {}).get("application/problem+json", {})
        for code in content.get("examples", {}):
            yield int(status), code


def problem_codes() -> str:
    """Return the page about error responses."""
    apis = documenting_apis()
    by_status: dict[int, list[tuple[str, str, str, str, str]]] = {}
    for (status, code), (title, meaning) in descriptions().items():
        where = ", ".join(sorted(apis.get((status, code), ())))
        members = PROBLEM_MEMBERS[code].model_fields if code in PROBLEM_MEMBERS else {}
        names = ", ".join(f"`{name}`" for name in members)
        by_status.setdefault(status, []).append((f"`{code}`", title, meaning, names, where))
    sections = [
        section(
            str(status),
            *([f"{WHAT_TO_DO[status]}\n"] if status in WHAT_TO_DO else []),
            table(
                "code", "title", "meaning", "parameters", "documented by", rows=by_status[status]
            ),
        )
        for status in sorted(by_status)
    ]
    return page(
        "Problem codes",
        "Every error response is a problem document (RFC 9457). Programs should read `code`, which"
        " is stable; `title` is the same for every occurrence, `detail` describes this one. The"
        " OpenAPI documents list the codes of each operation.",
        *sections,
        detail_codes(),
    )


def detail_codes() -> str:
    """Return the section about the codes of single values."""
    located = dict.fromkeys(DETAIL_PARAMETERS, "As the problem with this code.")
    rows = [
        (f"`{code}`", meaning, ", ".join(f"`{n}`" for n in DETAIL_PARAMETERS.get(code, ())))
        for code, meaning in sorted({**located, **DETAIL_CODES}.items())
    ]
    return section(
        "Codes of single values",
        "`errors[].code` is one of these, or the code of the problem itself. `params` has what a"
        " translation\nneeds.\n",
        table("code", "meaning", "parameters", rows=rows),
    )


async def backlog_metrics() -> list[Metric]:
    """Return the metrics that are read from the database on each scrape."""

    async def read() -> dict[str, list[tuple[str, int, float | None]]]:
        return {}

    backlog = Backlog(read, asyncio.get_running_loop())
    return await asyncio.to_thread(lambda: list(backlog.collect()))


def metric_rows() -> Iterator[tuple[str, str, str, str]]:
    """Return name, type, labels and meaning of each metric."""
    collectors = list(REGISTRY._collector_to_names)
    for metric in (c for c in collectors if isinstance(c, MetricWrapperBase)):
        kind = str(metric._type)
        name = f"{metric._name}_total" if kind == "counter" else metric._name
        yield name, kind, ", ".join(metric._labelnames), metric._documentation
    for family in asyncio.run(backlog_metrics()):
        yield (
            family.name,
            family.type,
            ", ".join(getattr(family, "_labelnames", ())),
            family.documentation,
        )


def metrics_page() -> str:
    """Return the page about metrics."""
    rows = [
        (f"`{name}`", kind, labels, text.rstrip(".") + ".")
        for name, kind, labels, text in sorted(metric_rows())
    ]
    return page(
        "Metrics",
        "Served at `DOCVAULT_METRICS_BIND`. No label holds a path, an id, a name or an address."
        " `deploy/grafana/docvault.json` is a dashboard with every metric, and"
        " [alerts](alerts.md) explains the alert rules.",
        table("metric", "type", "labels", "meaning", rows=rows),
    )


def alerts() -> str:
    """Return the page about alert rules."""
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yml").read_text())
    rows = [
        (
            f"`{rule['alert']}`",
            rule["labels"]["severity"],
            re.sub(r"\{\{.*?\}\}", "…", rule["annotations"]["summary"]),
            rule["annotations"]["description"],
        )
        for group in rules["groups"]
        for rule in group["rules"]
    ]
    return page(
        "Alerts",
        "The rules of `deploy/prometheus/alerts.yml`. `page`: documents are at risk now, or"
        " personal data is kept longer than promised. `ticket`: look at it today. What else to"
        " watch is in [monitor](../how-to/monitor.md).",
        table("alert", "severity", "meaning", "cause and remedy", rows=rows),
    )


def commands(group: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Return every visible command with its full name."""
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", command


def parameter_rows(command: Any) -> Iterator[tuple[str, str, str]]:
    """Return the visible arguments and options of a command."""
    for parameter in command.params:
        if getattr(parameter, "hidden", False) or "--help" in parameter.opts:
            continue
        is_argument = parameter.param_type_name == "argument"
        name = parameter.name.upper() if is_argument else ", ".join(parameter.opts)
        default = "required" if parameter.required else shown_default(parameter.default)
        yield f"`{name}`", default, parameter.help or ""


def shown_default(value: object) -> str:
    """Return the default of an option; a flag is off."""
    if value is None or value is False:
        return ""
    return f"`{value}`"


def command_line() -> str:
    """Return the page about the command line."""
    sections = []
    for name, command in commands(typer.main.get_command(app), "docvault"):
        text = inspect.cleandoc(command.help or "")
        rows = list(parameter_rows(command))
        paragraphs = [
            f"{text}\n",
            *([table("option", "default", "meaning", rows=rows)] if rows else []),
        ]
        sections.append(section(f"`{name}`", *paragraphs))
    return page(
        "Command line",
        "A command that fails prints one line that begins with `docvault:` and exits with status"
        " 1. Every command reads the [configuration](configuration.md).",
        *sections,
    )


def kind_rows(*, default: bool) -> Iterator[tuple[str, ...]]:
    """Return a row for each kind that a document type accepts by default, or may accept."""
    for kind in KINDS:
        if kind.is_default is default:
            yield (
                kind.name,
                f"`{kind.media_type}`",
                " ".join(f"`.{extension}`" for extension in kind.extensions),
                kind.inline.value,
                "yes" if kind.has_preview else "no",
                RECOGNIZED[kind.media_type],
            )


def kinds() -> str:
    """Return the page about the kinds of files; fail if one has no text or a text no kind."""
    grouped = [kind for group, _ in REFUSED.values() for kind in group]
    for described in (sorted(RECOGNIZED), sorted(grouped)):
        if described != sorted(KNOWN_MEDIA_TYPES):
            raise ValueError("tools/reference/kinds.py and domain/media_types.py differ")
    columns = ("kind", "media type", "extensions", "inline", "preview", "recognized by")
    refused = [(name, reason) for name, (_, reason) in REFUSED.items()]
    named = sorted((name, f"`{kind}`") for kind, name in REFUSED_NAMES.items())
    return page(
        "Kinds of files",
        "The content decides what a file is; the declared media type is ignored. A document type"
        " accepts the first list unless it says otherwise, and may accept kinds of the second. A"
        " file that is refused is named in `detail`, and its media type is in `detected`.",
        section("Accepted by default", table(*columns, rows=[*kind_rows(default=True)])),
        section(
            "Accepted by a document type that lists them",
            fill(
                "These are always attachments. Presentations are searched for active content like"
                " other office documents, and XML for what would run. Images and detached"
                " signatures have none. The rest is not searched, and counts as active.",
                100,
            )
            + "\n",
            table(*columns, rows=[*kind_rows(default=False)]),
        ),
        section(
            "Names",
            fill(
                "A stored file gets the extension of its kind appended unless its name has one:"
                " a PNG named `scan.jpg` is served as `scan.jpg.png`. An extension of another kind"
                " is accepted unless the file has active content. An extension of a program or"
                " page, such as `.exe` or `.html`, is refused with `extension-mismatch`, which"
                " lists the right `extensions`; so is that of another kind on active content. A"
                " name may end like that of a web site, as in `Invoice amazon.com`, unless the"
                " content is text.",
                100,
                break_on_hyphens=False,
            )
            + "\n",
        ),
        section("Refused, and why", table("kinds", "refused", rows=refused)),
        section(
            "Never stored",
            "These are recognized to be named in the response.\n",
            table("kind", "media type", rows=named),
        ),
    )


PAGES = {
    "alerts": alerts,
    "command-line": command_line,
    "configuration": configuration,
    "kinds": kinds,
    "metrics": metrics_page,
    "problem-codes": problem_codes,
}


def main() -> None:
    """Write the pages that have changed."""
    FOLDER.mkdir(exist_ok=True)
    for name, render in PAGES.items():
        path, text = FOLDER / f"{name}.md", render()
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
