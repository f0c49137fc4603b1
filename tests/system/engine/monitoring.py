"""Prometheus of docker-compose.monitoring.yml: what it scrapes, and what it makes of it."""

import json
import time
from typing import Any
from urllib.parse import quote

from tests.system.engine.deployment import ROOT, Deployment
from tests.torture.figures import Figure

# Rules are evaluated once a minute. Until all have been there are also two scrapes, for rates.
FIRST_SECONDS = 150
JOBS = ("docvault-api", "docvault-worker")
SEARCH = """
credentials=$(printf %s "admin:$(cat /run/secrets/grafana_password)" | base64 | tr -d '\\n')
wget -qO- --header "Authorization: Basic $credentials" \\
    'http://127.0.0.1:3000/api/search?type=dash-db'
"""
DASHBOARD = ROOT / "deploy" / "grafana" / "docvault.json"


def watch(deployment: Deployment) -> dict[str, Figure]:
    """Start Prometheus; return what it scrapes, its rules and the queries of the dashboard."""
    deployment.compose("up", "--detach", "--wait", "prometheus")
    with deployment.client() as client:
        client.get("/v1/admin/customers").raise_for_status()
    deadline = time.monotonic() + FIRST_SECONDS
    while time.monotonic() < deadline and not is_complete(deployment):
        time.sleep(1)
    rules, up = alert_rules(deployment), jobs_up(deployment)
    queries = dashboard_queries()
    answers = [query(deployment, text) for text in queries]
    return {
        "jobs of Prometheus that are scraped": len(up),
        "alert rules": len(rules),
        "alert rules evaluated without an error": sum(rule["health"] == "ok" for rule in rules),
        "alerts that fire": sum(rule["state"] == "firing" for rule in rules),
        "queries of the dashboard": len(queries),
        "queries of the dashboard with data": sum(map(bool, answers)),
        **grafana(deployment),
    }


def grafana(deployment: Deployment) -> dict[str, Figure]:
    """Return the dashboards that Grafana has; nothing if there is no image of it."""
    services = json.loads(deployment.compose("config", "--format", "json"))["services"]
    deployment.compose("pull", "--quiet", "grafana", fails=True)
    if not deployment.has_image(services["grafana"]["image"]):
        return {"Grafana": "not run: no image"}
    deployment.compose("up", "--detach", "--wait", "grafana")
    found = deployment.script("grafana", SEARCH)
    return {"dashboards in Grafana": len(json.loads(found))}


def is_complete(deployment: Deployment) -> bool:
    """Return whether both jobs have been scraped and all rules been evaluated."""
    known = all(rule["health"] != "unknown" for rule in alert_rules(deployment))
    return known and len(jobs_up(deployment)) == len(JOBS)


def jobs_up(deployment: Deployment) -> set[str]:
    """Return the jobs whose last scrape succeeded."""
    return {one["metric"]["job"] for one in query(deployment, "up == 1")}


def alert_rules(deployment: Deployment) -> list[dict[str, Any]]:
    """Return every alert rule with its state."""
    return [rule for group in ask(deployment, "rules")["groups"] for rule in group["rules"]]


def dashboard_queries() -> list[str]:
    """Return the queries of all panels, as Grafana sends them with its defaults."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    texts = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    return [text.replace("$__rate_interval", "1m").replace("$job", ".*") for text in texts]


def query(deployment: Deployment, text: str) -> list[dict[str, Any]]:
    """Return the series of an expression."""
    found: list[dict[str, Any]] = ask(deployment, f"query?query={quote(text)}")["result"]
    return found


def ask(deployment: Deployment, path: str) -> dict[str, Any]:
    """Return what the API of Prometheus says; it is reached in its container only."""
    url = f"http://127.0.0.1:9090/api/v1/{path}"
    answer = json.loads(deployment.script("prometheus", f"wget -qO- '{url}'"))
    assert answer["status"] == "success"
    data: dict[str, Any] = answer["data"]
    return data
