"""The dashboard and the alert rules name only metrics that exist, and miss none."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from docvault.metrics import metric_names
from docvault.repositories.jobs import JobName

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "docvault.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ALERTS: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
EXPRESSIONS = [rule["expr"] for rule in ALERTS]


def named(expressions: list[str]) -> set[str]:
    """Every metric the expressions ask for."""
    return {name for one in expressions for name in re.findall(r"\bdocvault_\w+", one)}


@pytest.mark.parametrize("expressions", [QUERIES, EXPRESSIONS], ids=["dashboard", "alerts"])
def test_every_metric_that_is_named_exists(expressions: list[str]) -> None:
    assert named(expressions) - metric_names() == set()


def test_a_rise_that_is_watched_is_seen_from_the_first_time() -> None:
    defined = (
        "from prometheus_client import generate_latest\n"
        "from docvault import metrics\n"
        "from docvault.jobs.tasks import queue_app\n"
        "from docvault.storage import filesystem, s3\n"
        "queue_app('postgresql://nowhere/nothing', None)\n"
        "print(generate_latest(metrics.REGISTRY).decode())"
    )
    # Another process, for in this one other tests have counted.
    output = subprocess.run(
        [sys.executable, "-c", defined], capture_output=True, text=True, check=True
    )
    for name, labels in re.findall(r"increase\((\w+)(?:\{(.*?)\})?\[", " ".join(EXPRESSIONS)):
        wanted = [re.sub("=~?", "=", label, count=1) for label in labels.split(",") if label]
        series = [line for line in output.stdout.splitlines() if re.match(rf"{name}[{{ ]", line)]
        assert any(all(re.search(one, line) for one in wanted) for line in series), name


def test_the_dashboard_shows_every_metric() -> None:
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in named(QUERIES)}
    known = {re.sub(r"_(bucket|sum|count)$", "", name) for name in metric_names()}
    assert known - shown == set()


@pytest.mark.parametrize("expression", [*QUERIES, *EXPRESSIONS])
def test_brackets_are_closed(expression: str) -> None:
    bare = re.sub(r'"[^"]*"', "", expression)
    for opening, closing in ("()", "{}", "[]"):
        assert bare.count(opening) == bare.count(closing)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_it_means_and_how_bad_it_is(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert len(rule["annotations"]["summary"]) > 20
    assert len(rule["annotations"]["description"]) > 60


def test_the_page_for_operators_explains_every_alert() -> None:
    page = (DEPLOY.parent / "docs" / "operations.md").read_text()
    rows = re.findall(r"^\| `(Docvault\w+)` \| (\w+) \| (.+?) \| (.+) \|$", page, re.MULTILINE)
    assert [row[:3] for row in rows] == [
        (
            rule["alert"],
            rule["labels"]["severity"],
            re.sub(r"\{\{.*?\}\}", "…", rule["annotations"]["summary"]),
        )
        for rule in ALERTS
    ]


def test_every_alert_has_a_name_of_its_own() -> None:
    names = [rule["alert"] for rule in ALERTS]
    assert len(set(names)) == len(names)


def test_alerts_name_tasks_that_exist() -> None:
    tasks = {
        task
        for one in EXPRESSIONS
        for found in re.findall(r'task!?=~?"([^"]+)"', one)
        for task in found.split("|")
    }
    assert tasks
    assert tasks <= set(JobName)


def test_panels_do_not_overlap() -> None:
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in DASHBOARD["panels"]]
    assert len(set(places)) == len(places)
    assert all(p["gridPos"]["x"] + p["gridPos"]["w"] <= 24 for p in DASHBOARD["panels"])
