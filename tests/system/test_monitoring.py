"""Debian's Prometheus with the configuration of deploy/prometheus, beside the running service."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.fixtures.seaweedfs import free_ports
from tests.fixtures.server import RunningServer, running_server, stop
from tests.system.engine.monitoring import dashboard_queries

pytestmark = [pytest.mark.system, pytest.mark.req("B-220")]

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
SECONDS = 60


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A server that scrapes both jobs from one process of docvault."""

    url: str
    watched: RunningServer

    def ask(self, path: str, **parameters: str) -> Any:
        """Return what its API says."""
        response = httpx.get(f"{self.url}/api/v1/{path}", params=parameters, trust_env=False)
        assert response.is_success, response.text
        return response.json()["data"]

    def rules(self) -> dict[str, dict[str, Any]]:
        """Return the alert rules by name."""
        (group,) = self.ask("rules")["groups"]
        return {rule["name"]: rule for rule in group["rules"]}


def becomes_true(condition: Callable[[], object]) -> bool:
    deadline = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def program(name: str) -> str:
    found = shutil.which(name)
    assert found is not None, "apt-get install prometheus"
    return found


@pytest.fixture
def prometheus(tmp_path: Path, data_dir: Path) -> Iterator[Prometheus]:
    metrics, port = free_ports(2)
    configuration = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    # Only where to look and how often is changed.
    configuration["global"] = {"evaluation_interval": "1s"}
    for job in configuration["scrape_configs"]:
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": [f"127.0.0.1:{metrics}"]}]
        job["scrape_interval"] = job["scrape_timeout"] = "1s"
    (tmp_path / "prometheus.yml").write_text(json.dumps(configuration))
    shutil.copy(FOLDER / "alerts.yml", tmp_path)
    with running_server(data_dir, DOCVAULT_METRICS_BIND=f"127.0.0.1:{metrics}") as watched:
        process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={tmp_path}/prometheus.yml",
                f"--storage.tsdb.path={tmp_path}/data",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=error",
            ]
        )
        try:
            yield Prometheus(f"http://127.0.0.1:{port}", watched)
        finally:
            process.terminate()
            process.wait(SECONDS)


def test_configuration_is_accepted() -> None:
    command = [program("promtool"), "check", "config", str(FOLDER / "prometheus.yml")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_rule_and_query_works_and_a_dead_api_is_noticed(prometheus: Prometheus) -> None:
    def is_watching() -> bool:
        try:
            rules = prometheus.rules().values()
        except httpx.TransportError:
            return False
        has_scraped = prometheus.ask("query", query="rate(process_cpu_seconds_total[1m])")["result"]
        return bool(has_scraped) and all(rule["health"] != "unknown" for rule in rules)

    assert becomes_true(is_watching)
    assert {name for name, rule in prometheus.rules().items() if rule["health"] != "ok"} == set()
    for query in dashboard_queries():
        prometheus.ask("query", query=query)
    assert prometheus.rules()["DocvaultApiGone"]["state"] == "inactive"
    stop(prometheus.watched.process)
    assert becomes_true(lambda: prometheus.rules()["DocvaultApiGone"]["state"] == "pending")
