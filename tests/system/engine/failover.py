"""A second server for the database, and the failover to it by hand."""

import time

from tests.system.engine.deployment import Deployment
from tests.system.engine.observing import observe, outages, totals
from tests.torture.figures import Figure

# Found by `docker compose` beside docker-compose.yml.
OVERRIDE = """
services:
  standby:
    extends: {file: docker-compose.yml, service: database}
    entrypoint: [sh, -ec]
    command:
      - |
        if ! [ -s "$$PGDATA/PG_VERSION" ]; then
          PGPASSWORD=$$(cat /run/secrets/database_password) pg_basebackup --pgdata "$$PGDATA" \\
            --dbname 'host=database user=docvault' --write-recovery-conf --checkpoint fast
        fi
        exec postgres -c 'listen_addresses=*'
    volumes: !override ["standby:/var/lib/postgresql"]
volumes:
  standby: {}
"""
HANDS_SECONDS = 10


def fail_over(deployment: Deployment) -> dict[str, Figure]:
    """Kill the primary for good, and promote the standby ten seconds later."""
    add_standby(deployment)
    promoted = 0.0

    def happens() -> None:
        nonlocal promoted
        # The engine does not start again what it was told to kill.
        deployment.compose("kill", "database")
        time.sleep(HANDS_SECONDS)
        sql(deployment, "standby", "SELECT pg_promote()")
        promoted = time.monotonic()

    seen = observe(deployment, happens)
    deployment.verify()
    shown: dict[str, Figure] = {"seconds until the promotion": HANDS_SECONDS}
    for name, requests in seen.items():
        seconds = requests.first_success_after(promoted)
        shown[f"from the promotion to the first success of {name}, s"] = round(seconds, 1)
    return {**shown, **outages(seen), **totals(seen)}


def add_standby(deployment: Deployment) -> None:
    """Start a standby that has everything the primary has acknowledged, and name it to docvault."""
    (deployment.folder / "docker-compose.override.yml").write_text(OVERRIDE)
    rule = "echo 'host replication docvault all scram-sha-256' >>$PGDATA/pg_hba.conf"
    deployment.script("database", rule)
    sql(deployment, "database", "SELECT pg_reload_conf()")
    deployment.compose("up", "--detach", "--wait", "--no-deps", "standby")
    sql(deployment, "database", "ALTER SYSTEM SET synchronous_standby_names = '*'")
    sql(deployment, "database", "SELECT pg_reload_conf()")
    url = deployment.folder / "secrets" / "docvault_database_url"
    text = url.read_text().replace("@database:5432/", "@database:5432,standby:5432/")
    url.unlink()
    url.write_text(f"{text}?target_session_attrs=read-write")
    url.chmod(0o444)
    deployment.compose("up", "--detach", "--wait", "--no-deps", "--force-recreate", "api", "worker")


def sql(deployment: Deployment, service: str, statement: str) -> str:
    """Run a statement as the owner of the database."""
    program = ("psql", "--username", "docvault", "--no-psqlrc", "--tuples-only", "--no-align")
    return deployment.compose("exec", "-T", service, *program, "--command", statement).strip()
