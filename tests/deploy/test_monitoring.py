"""The dashboard and the alert rules use only existing metrics, and the dashboard all of them."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from docvault.observability.metrics import metric_names
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
    """Return every metric used in the expressions."""
    return {name for one in expressions for name in re.findall(r"\bdocvault_\w+", one)}


@pytest.mark.parametrize("expressions", [QUERIES, EXPRESSIONS], ids=["dashboard", "alerts"])
def test_every_named_metric_exists(expressions: list[str]) -> None:
    assert named(expressions) - metric_names() == set()


def test_watched_counters_are_exported_from_start() -> None:
    defined = (
        "from prometheus_client import generate_latest\n"
        "from docvault.observability import metrics\n"
        "from docvault.jobs.tasks import queue_app\n"
        "from docvault.storage import filesystem, s3\n"
        "queue_app('postgresql://nowhere/nothing', None)\n"
        "print(generate_latest(metrics.REGISTRY).decode())"
    )
    # Another process, because other tests have counted in this one.
    output = subprocess.run(
        [sys.executable, "-c", defined], capture_output=True, text=True, check=True
    )
    watched = re.findall(r"increase\((\w+)(?:\{(.*?)\})?\[", " ".join(EXPRESSIONS))
    # Every counter in an alert is used with increase().
    counters = {name for name in named(EXPRESSIONS) if name.endswith("_total")}
    assert counters
    assert counters <= {name for name, _ in watched}
    for name, labels in watched:
        wanted = [re.sub("=~?", "=", label, count=1) for label in labels.split(",") if label]
        series = [line for line in output.stdout.splitlines() if re.match(rf"{name}[{{ ]", line)]
        assert any(all(re.search(one, line) for one in wanted) for line in series), name


def test_dashboard_shows_every_metric() -> None:
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in named(QUERIES)}
    known = {re.sub(r"_(bucket|sum|count)$", "", name) for name in metric_names()}
    assert known - shown == set()


@pytest.mark.parametrize("expression", [*QUERIES, *EXPRESSIONS])
def test_brackets_are_balanced(expression: str) -> None:
    bare = re.sub(r'"[^"]*"', "", expression)
    for opening, closing in ("()", "{}", "[]"):
        assert bare.count(opening) == bare.count(closing)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_alerts_have_summary_and_severity(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert len(rule["annotations"]["summary"]) > 20
    assert len(rule["annotations"]["description"]) > 60


def test_alert_names_are_unique() -> None:
    names = [rule["alert"] for rule in ALERTS]
    assert len(set(names)) == len(names)


def test_alerts_name_existing_tasks() -> None:
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
