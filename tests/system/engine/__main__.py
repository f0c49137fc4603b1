"""Runs the compose deployment on the engine of `docker` and measures it: `make engine`.

Needs Docker with Compose, the images of the compose files or a registry, some 8 GiB of memory, and
half an hour; `ONLY=memory,upgrade` runs these parts in this order. Everything is in projects of
their own, in folders below ENGINE_FOLDER, and is removed at the end. ENGINE_RESTART is the command
that restarts the engine, such as `sudo systemctl restart docker`; without it that part is left out.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from tests.system.engine.backups import restore_elsewhere
from tests.system.engine.commands import COMMANDS
from tests.system.engine.deployment import SERVICES, Deployment, deployed
from tests.system.engine.failover import fail_over
from tests.system.engine.memory import ROUNDS, UPLOAD_MEBIBYTES, UPLOADS, upload_at_once
from tests.system.engine.monitoring import watch
from tests.system.engine.observing import observe, outages, totals
from tests.system.engine.reports import Report
from tests.system.engine.syncing import sync_twice
from tests.torture.figures import Figure

PORT = 18080
STEADILY = "A client reads, uploads and downloads ten times a second each"
# In two pieces, so that scanners do not find it here.
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-" + b"FILE!$H+H*"


def memory(deployment: Deployment, report: Report) -> None:
    """Upload at the full capacity of the API."""
    report.save(
        "B-217",
        "The memory limits of the compose file hold at full capacity.",
        f"{UPLOADS} PDFs of {UPLOAD_MEBIBYTES} MiB are uploaded at once through the proxy,"
        f" {ROUNDS} times in a row. The memory of each container is sampled five times a second.",
        upload_at_once(deployment),
    )


def interruptions(deployment: Deployment, report: Report) -> None:
    """Restart and kill each service."""
    acts: dict[str, Callable[[str], object]] = {
        "restarted": lambda service: deployment.compose("restart", service),
        "killed": deployment.kill,
    }
    for case, act in acts.items():
        figures: dict[str, Figure] = {}
        all_seen = []
        for service in SERVICES:
            seen = observe(deployment, partial(act, service))
            figures |= outages(seen, f"{service}: ")
            all_seen.append(seen)
            deployment.wait_until_healthy(*SERVICES)
        report.save(
            "B-222",
            "A service of the compose deployment that is restarted or killed serves again.",
            f"{STEADILY}. One service after the other is restarted by `docker compose restart`, or"
            " its main process is killed with SIGKILL from outside and the engine starts it again.",
            {**figures, **totals(*all_seen)},
            case,
        )
    deployment.verify()


def engine(deployment: Deployment, report: Report) -> None:
    """Restart the engine itself."""
    command = os.environ.get("ENGINE_RESTART")
    if command is None:
        sys.stdout.write("ENGINE_RESTART is not set: the engine is not restarted\n")
        return

    def restart() -> None:
        subprocess.run(command, shell=True, check=True)
        deployment.wait_until_healthy(*SERVICES)

    began = time.monotonic()
    seen = observe(deployment, restart)
    seconds = round(time.monotonic() - began)
    deployment.verify()
    report.save(
        "B-022",
        "The compose deployment is back after a restart of the engine.",
        f"{STEADILY}, while the engine is stopped, which stops all containers, and started again."
        " Then `docvault verify --rehash` compares rows and bytes.",
        {"services": len(SERVICES), "all healthy and calm after, s": seconds, **outages(seen)},
        "engine",
    )


def upgrade(deployment: Deployment, report: Report) -> None:
    """Replace the image."""
    with (deployment.folder / "src" / "docvault" / "py.typed").open("a") as file:
        file.write(f"# {time.time()}\n")
    before = deployment.inspect("api", "{{.Image}}")
    seen = observe(deployment, lambda: deployment.run("deploy/upgrade.sh"))
    assert deployment.inspect("api", "{{.Image}}") != before
    report.save(
        "B-218",
        "An upgrade of the compose deployment refuses no request.",
        f"{STEADILY} while `deploy/upgrade.sh` replaces the image.",
        {**totals(seen), **outages(seen)},
    )


def syncing(deployment: Deployment, report: Report) -> None:
    """Send many customers as a host does."""
    report.save(
        "B-293",
        "A host may send all its customers again and again: a batch takes seconds, changed or not.",
        "A third party sends 20,000 customers through the proxy in batches of 500, one after the"
        " other, and then the same ones again.",
        sync_twice(deployment),
    )


def scanner(deployment: Deployment, report: Report) -> None:
    """Switch the scanner on, as the documentation says."""
    settings = deployment.folder / ".env"
    settings.write_text("COMPOSE_PROFILES=scanner\nDOCVAULT_CLAMD_URL=tcp://scanner:3310\n")
    began = time.monotonic()
    deployment.up()
    seconds = round(time.monotonic() - began)
    with deployment.client() as client:
        client.post("/v1/admin/document-types", json={"name": "Scanned"})
        client.put("/v1/admin/customers/scanned", json={}).raise_for_status()
        document = "/v1/admin/customers/scanned/documents/scanned"
        refused = client.put(document, files={"file": ("a.txt", EICAR)})
        accepted = client.put(document, files={"file": ("a.txt", b"Nothing but text.\n")})
    deployment.compose("rm", "--stop", "--force", "scanner", "signatures")
    settings.unlink()
    deployment.compose("up", "--detach", "--wait")
    assert refused.status_code == 422, refused.text
    assert accepted.is_success, accepted.text
    report.save(
        "B-264",
        "With the profile `scanner` the compose deployment starts and refuses malware.",
        "`deploy/make-secrets.sh && docker compose up --build --detach --wait` with the settings of"
        " docs/how-to/scan-for-malware.md; then a harmless file and EICAR's are uploaded.",
        {
            "start with exit status 0, s": seconds,
            "EICAR": refused.json()["code"],
            "harmless file": accepted.json()["files"][0]["scan"],
        },
    )


def monitoring(deployment: Deployment, report: Report) -> None:
    """Add Prometheus."""
    both = "docker-compose.yml:docker-compose.monitoring.yml"
    watched = replace(deployment, variables={"COMPOSE_FILE": both})
    figures = watch(watched)
    watched.compose("rm", "--stop", "--force", "prometheus", "grafana")
    replace(report, not_shown=Report.of(watched).not_shown).save(
        "B-220",
        "Prometheus scrapes every service of docvault and evaluates every alert rule.",
        "The services of docker-compose.monitoring.yml run beside the deployment. Prometheus is"
        " asked for its targets, its rules, and for every query of the dashboard.",
        figures,
    )


def commands(deployment: Deployment, report: Report) -> None:
    """Run the commands of the documentation."""
    with deployment.client() as client:
        before = client.get("/v1/admin/customers").json()
    for command in COMMANDS:
        deployment.run("sh", "-ec", command)
    with deployment.client() as client:
        assert client.get("/v1/admin/customers").json() == before
    report.save(
        "B-263",
        "Every Compose command of the documentation succeeds.",
        "They run one after the other; those that dump and restore the database restore it.",
        {"commands": len(COMMANDS), "failed": 0},
    )


def backup(deployment: Deployment, report: Report) -> None:
    """Back up, and restore elsewhere."""
    report.save(
        "B-219",
        "A backup of the running compose deployment restores into an empty one.",
        "`deploy/backup.sh` twice, then `deploy/restore.sh` in a fresh clone with a umask of 077"
        " and without secrets. The hashes of all documents are compared, and `docvault verify"
        " --rehash` is run.",
        restore_elsewhere(deployment, PORT + 1),
    )


def failover(deployment: Deployment, report: Report) -> None:
    """Lose the database for good. Nothing comes after it."""
    report.save(
        "B-205",
        "After the loss of the primary, the compose deployment goes on with a promoted standby.",
        f"A second PostgreSQL replicates the first synchronously. {STEADILY}; the first is killed"
        " for good, and the second promoted by hand. Then `docvault verify --rehash` compares rows"
        " and bytes.",
        fail_over(deployment),
    )


PARTS: dict[str, Callable[[Deployment, Report], None]] = {
    part.__name__: part
    for part in (
        memory,
        interruptions,
        engine,
        upgrade,
        scanner,
        monitoring,
        commands,
        syncing,
        backup,
        failover,
    )
}


def main() -> None:
    """Start a deployment and run the parts on it."""
    parser = argparse.ArgumentParser(prog="make engine")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, with commas between them")
    chosen = parser.parse_args().only.split(",")
    if unknown := set(chosen) - PARTS.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    with deployed("docvault-engine", PORT) as deployment:
        deployment.up()
        for name in chosen:
            PARTS[name](deployment, Report.of(deployment))


if __name__ == "__main__":
    main()
