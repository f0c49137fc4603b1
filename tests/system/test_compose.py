"""docker-compose.yml, the Dockerfile and nginx.conf: their content, and that they work.

No container engine is needed. The files are parsed, and their commands run on this machine, with
Debian's nginx in front.
"""

import hashlib
import json
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

import boto3
import httpx
import psutil
import pytest
import yaml
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.factories import files
from tests.factories.setups import upload_of
from tests.fixtures.compose import (
    COMPOSE,
    PRIVATE_NETWORKS,
    ROOT,
    SERVICES,
    STORE_HOST,
    Deployment,
    becomes_true,
    deployed,
    exchange,
    without_variables,
)
from tests.fixtures.postgres_programs import postgres_program
from tests.test_readme import tour
from typer.testing import CliRunner

from docvault import errors
from docvault.cli.main import app
from docvault.settings import SECRET_BYTES, Settings, variable_of

pytestmark = pytest.mark.system

DOCKERFILE = (ROOT / "Dockerfile").read_text()
NGINX = (ROOT / "deploy" / "nginx.conf").read_text()


class _Reset(yaml.SafeLoader):
    """Reads compose's own tags as what they are put before."""


_Reset.add_constructor("!reset", lambda _loader, _node: [])
TLS: dict[str, Any] = yaml.load((ROOT / "docker-compose.tls.yml").read_text(), _Reset)
OURS = {name: s for name, s in SERVICES.items() if "DOCVAULT_IMAGE" in s["image"]}
GET, PUT = (f"{method} /v1/x HTTP/1.1\r\nHost: a\r\n" for method in ("GET", "PUT"))
ONE_SHOT = {"migrate", "bucket", "backup"}
# The lines to remove for a database or a store of one's own, by service.
OPTIONAL_DEPENDENCIES = {
    **{name: {"bucket"} for name in ("api", "worker", "backup")},
    "migrate": {"database"},
}
# Written, by deploy/backup.sh.
BACKUP_MOUNT = "./backup/data:/backup:z"
each_service = pytest.mark.parametrize("name", SERVICES)


class TestComposeFile:
    """The content of docker-compose.yml."""

    @each_service
    def test_containers_are_confined(self, name: str) -> None:
        service = SERVICES[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not {"cap_add", "privileged", "network_mode", "pid", "devices"} & service.keys()
        assert "/tmp" in service["tmpfs"][0]

    @each_service
    def test_no_container_runs_as_root(self, name: str) -> None:
        user = SERVICES[name].get("user", image_user() if name in OURS else "root")
        assert user.split(":")[0] not in {"root", "0"}

    @each_service
    def test_memory_processes_and_logs_are_limited(self, name: str) -> None:
        service = SERVICES[name]
        assert service["mem_limit"] == service["memswap_limit"]
        assert service["ulimits"]["nofile"]["hard"] >= 4 * 1024
        assert service["pids_limit"]
        assert service["logging"]["options"]["max-size"]

    @pytest.mark.req("B-264")
    @each_service
    def test_long_running_services_restart_and_have_health_checks(self, name: str) -> None:
        service = SERVICES[name]
        assert service["restart"] == ("no" if name in ONE_SHOT else "unless-stopped")
        if name in ONE_SHOT:
            assert service["healthcheck"] == {"disable": True}
        else:
            assert service["healthcheck"]["test"][0] == "CMD"
        restarts = "kill -KILL -1" in str(service["healthcheck"])
        assert restarts == (name in {"proxy", "api", "store", "scanner"})
        # Without the engine's init the service is PID 1, which ignores signals from inside.
        assert service.get("init", False) or not restarts

    @each_service
    def test_images_are_pinned(self, name: str) -> None:
        tag = without_variables(SERVICES[name]["image"]).partition(":")[2]
        assert tag.partition("@")[0] not in {"", "latest"}

    def test_only_proxy_is_published_on_loopback(self) -> None:
        published = {name: s["ports"] for name, s in SERVICES.items() if "ports" in s}
        assert list(published) == ["proxy"]
        assert [without_variables(port) for port in published["proxy"]] == ["127.0.0.1:8080:8080"]

    def test_networks_isolate_database_and_store(self) -> None:
        members = {
            network: {name for name, s in SERVICES.items() if network in s["networks"]}
            for network in COMPOSE["networks"]
        }
        assert members == {
            "outside": {"proxy", "api"},
            "elsewhere": {"api", "worker", "migrate", "backup"},
            "updates": {"signatures"},
            "signed": {"proxy", "store"},
            "monitoring": {"api", "worker"},
            "rows": {"api", "worker", "migrate", "backup", "database"},
            "bytes": {"api", "worker", "bucket", "backup", "store"},
            "scanning": {"api", "worker", "scanner"},
        }
        for network in members.keys() - {"outside", "elsewhere", "updates"}:
            assert COMPOSE["networks"][network] == {"internal": True}

    def test_scanner_needs_profile(self) -> None:
        optional = {name for name, s in SERVICES.items() if "profiles" in s}
        assert optional == {"backup", "scanner", "signatures"}

    def test_freshclam_accepts_its_configuration(self) -> None:
        done = subprocess.run(
            ["freshclam", "--version", "--config-file", ROOT / "deploy" / "freshclam.conf"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")

    def test_services_wait_for_dependencies(self) -> None:
        waits = {
            name: {other: how["condition"] for other, how in s["depends_on"].items()}
            for name, s in SERVICES.items()
            if "depends_on" in s
        }
        done, healthy = "service_completed_successfully", "service_healthy"
        assert waits == {
            "proxy": {"api": healthy},
            "api": {"migrate": done, "bucket": done},
            "worker": {"migrate": done, "bucket": done},
            "backup": {"migrate": done, "bucket": done},
            "migrate": {"database": healthy},
            "bucket": {"store": healthy},
        }

    def test_stop_grace_period_exceeds_shutdown_time(self) -> None:
        assert OURS["api"]["stop_grace_period"] == OURS["worker"]["stop_grace_period"] == "40s"

    @pytest.mark.parametrize("name", OURS)
    def test_every_variable_is_a_setting(self, name: str) -> None:
        settings = {f"DOCVAULT_{field.upper()}" for field in Settings.model_fields}
        named = {v for v in OURS[name]["environment"] if v.startswith("DOCVAULT_")}
        named |= {s.upper() for s in OURS[name]["secrets"] if s.startswith("docvault_")}
        assert named <= settings

    @pytest.mark.parametrize("name", OURS)
    def test_every_setting_can_be_in_env_file(self, name: str) -> None:
        assert OURS[name]["env_file"] == [{"path": ".env", "required": False}]
        # Values here override the env file, so they must pass it through. The rest cannot be set by
        # operators.
        fixed = {
            variable
            for variable, value in OURS[name]["environment"].items()
            if f"${{{variable}" not in value
        }
        assert fixed <= {
            "AWS_SHARED_CREDENTIALS_FILE",
            "DOCVAULT_METRICS_BIND",
            "DOCVAULT_WORKER",
        }

    def test_additional_trusted_proxy_does_not_replace_default(self) -> None:
        value = OURS["api"]["environment"]["DOCVAULT_TRUSTED_PROXIES"]
        for given in ("", "192.0.2.7"):
            trusted = value.replace("${DOCVAULT_TRUSTED_PROXIES:-}", given)
            settings = Settings(trusted_proxies=trusted)
            ours = (*PRIVATE_NETWORKS.split(","), given)
            assert settings.trusted_proxies == tuple(filter(None, ours))

    def test_database_and_store_are_optional_dependencies(self) -> None:
        own = {"database", "store", "bucket"}
        for name in SERVICES.keys() - own:
            waits = SERVICES[name].get("depends_on", {}).keys() & own
            assert waits <= OPTIONAL_DEPENDENCIES.get(name, set())

    @pytest.mark.parametrize("name", OURS)
    def test_commands_are_docvault_commands(self, name: str) -> None:
        assert is_valid_command(OURS[name]["command"])

    def test_mounted_files_exist(self) -> None:
        mounts = [without_variables(v) for s in SERVICES.values() for v in s.get("volumes", [])]
        mounts.remove(BACKUP_MOUNT)
        paths = [mount.split(":")[0] for mount in mounts]
        for path in paths:
            assert path in COMPOSE["volumes"] or (ROOT / path).is_file(), path
        # `z` is for SELinux, and ignored elsewhere.
        assert all(mount.endswith(":ro,z") for mount in mounts if mount.startswith("./"))


class TestTls:
    """docker-compose.tls.yml."""

    def test_only_caddy_is_published(self) -> None:
        assert TLS["services"]["tls"]["ports"] == ["80:8080", "443:8443"]
        assert TLS["services"]["proxy"]["ports"] == []
        assert {name for name, s in TLS["services"].items() if s.get("ports")} == {"tls"}

    @pytest.mark.parametrize("name", ["tls", "certificates"])
    def test_containers_are_confined(self, name: str) -> None:
        service = TLS["services"][name]
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["mem_limit"] == service["memswap_limit"]
        assert service["pids_limit"]

    def test_one_variable_is_needed(self) -> None:
        text = (ROOT / "docker-compose.tls.yml").read_text()
        assert set(re.findall(r"\$\{(\w+)", text)) == {"DOCVAULT_DOMAIN", "DOCVAULT_IMAGE"}

    @pytest.mark.req("B-221")
    def test_client_addresses_come_from_caddy(self) -> None:
        mounts = [v for s in TLS["services"].values() for v in s.get("volumes", [])]
        files = [ROOT / mount.split(":")[0] for mount in mounts if mount.startswith("./")]
        assert {file.name for file in files} == {"Caddyfile", "behind-caddy.conf"}
        assert all(file.is_file() for file in files)
        assert "include /etc/nginx/docvault.d/*.conf;" in NGINX


class TestRestartingCheck:
    """Return the script of the health checks that restart a container."""

    @pytest.fixture
    def target(self) -> Iterator["subprocess.Popen[bytes]"]:
        """A process that represents a whole container."""
        with subprocess.Popen(["sleep", "300"]) as process:
            yield process
            process.kill()

    @pytest.fixture
    def check(
        self, tmp_path: Path, target: "subprocess.Popen[bytes]"
    ) -> Callable[..., "subprocess.Popen[bytes]"]:
        """Start a health check with a probe, like the engine."""
        script = COMPOSE["x-restarting-check"].replace("$$", "$")
        for old, new in (
            ("/tmp/", f"{tmp_path}/"),
            ("/proc/1/fd/2", f"{tmp_path}/log"),
            ("kill -KILL -1", f"kill -KILL {target.pid}"),
        ):
            assert old in script
            script = script.replace(old, new)
        return lambda *probe: subprocess.Popen(["sh", "-c", script, "3", *probe])

    @pytest.mark.req("B-022")
    def test_consecutive_failed_checks_kill_process(
        self, check: Callable[..., "subprocess.Popen[bytes]"], target: "subprocess.Popen[bytes]"
    ) -> None:
        for _ in range(3):
            assert check("false").wait() != 0
            assert target.poll() is None
        check("false").wait()
        assert target.wait(10) == -9

    @pytest.mark.req("B-022")
    def test_hanging_checks_count_despite_kill(
        self, check: Callable[..., "subprocess.Popen[bytes]"], target: "subprocess.Popen[bytes]"
    ) -> None:
        for _ in range(3):
            # The engine's kill also ends the script.
            hanging = check("sleep", "300")
            with pytest.raises(subprocess.TimeoutExpired):
                hanging.wait(0.3)
            for process in (*psutil.Process(hanging.pid).children(), psutil.Process(hanging.pid)):
                process.kill()
            hanging.wait()
        assert target.poll() is None
        check("true").wait()
        assert target.wait(10) == -9

    def test_successful_check_resets_count(
        self, check: Callable[..., "subprocess.Popen[bytes]"], target: "subprocess.Popen[bytes]"
    ) -> None:
        for _ in range(3):
            check("false").wait()
            check("false").wait()
            assert check("true").wait() == 0
        assert target.poll() is None

    @pytest.mark.parametrize("name", ["proxy", "api", "store", "scanner"])
    def test_restart_threshold_exceeds_startup_time(self, name: str) -> None:
        check = SERVICES[name]["healthcheck"]
        number = int(check["test"][4])
        starts = int(check.get("start_period", "0s").removesuffix("s"))
        # The engine checks every five seconds while a container starts.
        assert number * 5 >= max(120, 2 * starts)


class TestSecrets:
    """No secret is built in; each deployment creates its own."""

    def test_secrets_are_files_outside_repository(self) -> None:
        ignored = (ROOT / ".gitignore").read_text().splitlines()
        assert {"/secrets/", "/.env"} <= set(ignored)
        for name, secret in COMPOSE["secrets"].items():
            assert without_variables(secret["file"]) == f"./secrets/{name}"

    def test_no_variable_contains_a_secret(self) -> None:
        secretive = re.compile(r"PASSWORD|SECRET|TOKEN|ACCESS_KEY|DATABASE_URL|PRIVATE")
        for service in SERVICES.values():
            for variable in service.get("environment", {}):
                assert variable.endswith("_FILE") or not secretive.search(variable), variable

    def test_example_env_contains_no_secret(self) -> None:
        lines = (ROOT / ".env.example").read_text().splitlines()
        names = {
            line.lstrip("#").split("=")[0] for line in lines if re.match(r"#?[A-Z_0-9]+=", line)
        }
        files = ROOT.glob("docker-compose*.yml")
        used = {v for f in files for v in re.findall(r"\$\{(\w+):?[-?+]", f.read_text())}
        settings = {variable_of(field) for field in Settings.model_fields}
        assert used <= names
        assert names <= used | settings | {"COMPOSE_FILE", "COMPOSE_PROFILES"}
        assert not any("SECRET_KEY" in name or "PASSWORD" in name for name in names)

    def test_image_contains_only_code(self) -> None:
        text = (ROOT / ".dockerignore").read_text()
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        assert lines[0] == "*"
        assert {x.removeprefix("!") for x in lines if x.startswith("!")} == {
            "LICENSE",
            "README.md",
            "migrations",
            "pyproject.toml",
            "requirements-build.lock",
            "requirements.lock",
            "src",
        }

    def test_deployment_generates_secrets_once(self, tmp_path: Path) -> None:
        one, two = tmp_path / "one", tmp_path / "two"
        make_secrets(one)
        made = contents(one)
        make_secrets(one)
        make_secrets(two)
        assert contents(one) == made
        assert made.keys() >= COMPOSE["secrets"].keys()
        # The same in each deployment, and no secret: where the certificate is.
        del made["store_security"]
        assert all(contents(two)[name] != value for name, value in made.items())
        assert len(made["docvault_secret_key"]) >= SECRET_BYTES
        assert made["database_password"] in made["docvault_database_url"]
        of_api, of_bucket = json.loads(made["store_config"])["identities"]
        assert of_api["credentials"][0]["secretKey"] in made["aws_credentials"]
        assert of_bucket["credentials"][0]["secretKey"] in made["bucket_credentials"]
        assert ("Admin" in of_api["actions"], of_bucket["actions"]) == (False, ["Admin"])

    def test_store_configuration_of_older_version_is_reported(self, tmp_path: Path) -> None:
        (tmp_path / "store_config").write_text('{"identities": []}')
        done = make_secrets(tmp_path)
        assert "store_config is of an older version" in done.stderr
        assert make_secrets(tmp_path / "new").stderr == ""

    @pytest.mark.req("B-215")
    def test_files_of_private_clone_become_readable_by_containers(self, tmp_path: Path) -> None:
        shutil.copytree(ROOT / "deploy", tmp_path / "deploy")
        for path in (tmp_path / "deploy").glob("*.conf"):
            path.chmod(0o600)
        script = tmp_path / "deploy" / "make-secrets.sh"
        subprocess.run([script, tmp_path / "secrets"], check=True, capture_output=True)
        mounted = [m for s in SERVICES.values() for m in s.get("volumes", []) if m[:2] == "./"]
        assert mounted
        for mount in mounted:
            assert (tmp_path / mount.split(":")[0]).stat().st_mode & 0o444 == 0o444
        for path in (tmp_path / "secrets").iterdir():
            assert path.stat().st_mode & 0o777 == 0o444

    def test_secrets_are_readable_only_by_owner(self, tmp_path: Path) -> None:
        make_secrets(tmp_path / "secrets")
        assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700


class TestDockerfile:
    """The content of the image."""

    def test_runtime_stage_is_separate_from_build_stage(self) -> None:
        stages = re.findall(r"^FROM ([^@\s]+)", DOCKERFILE, re.MULTILINE)
        assert stages == ["python:3.11-slim", "dependencies", "python:3.11-slim"]
        assert not re.search(r"apt-get|pip install|gcc|curl", last_stage())
        assert re.findall(r"^(?:COPY|ADD) .*", last_stage(), re.MULTILINE) == [
            "COPY --from=dependencies /opt/docvault /opt/docvault",
            "COPY --from=code /code /opt/docvault",
        ]

    def test_build_asks_no_registry_but_for_its_base(self) -> None:
        assert not DOCKERFILE.startswith("# syntax")

    def test_packages_are_checked_against_hashes(self) -> None:
        installs = re.findall(
            r"pip (?:--python \S+ )?install [^&\n]*", DOCKERFILE.replace("\\\n", " ")
        )
        assert len(installs) == 3
        assert [i for i in installs if "--require-hashes" not in i and "--no-index" not in i] == []

    def test_image_runs_as_numeric_non_root_user(self) -> None:
        assert int(image_user()) > 1000

    def test_image_has_health_check(self) -> None:
        match = re.search(r"^HEALTHCHECK .*\n? *CMD (\[.*\])$", last_stage(), re.MULTILINE)
        assert match is not None
        assert match.group(1).count("/livez") == 1
        assert json.loads(match.group(1))[0] == "python"

    def test_entrypoint_is_docvault(self) -> None:
        assert 'ENTRYPOINT ["docvault"]' in last_stage()
        match = re.search(r"^CMD (.*)$", last_stage(), re.MULTILINE)
        assert match is not None
        assert is_valid_command(json.loads(match.group(1)))

    def test_image_version_matches_project(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        images = {without_variables(s["image"]) for s in OURS.values()}
        assert images == {f"docvault:{project['version']}"}
        assert f"ARG VERSION={project['version']}\n" in last_stage()
        assert f'image.licenses="{project["license"]}"' in last_stage()


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    with deployed() as started:
        yield started


class TestProxy:
    """nginx.conf: limits, and only the API is exposed."""

    @pytest.mark.parametrize(
        ("head", "status", "code"),
        [
            (GET.replace("/x", "/" + "x" * 9000), 431, "header-too-large"),
            (GET + f"X-Long: {'x' * 9000}\r\n", 431, "header-too-large"),
            (
                GET + "".join(f"X-{n}: {'x' * 4000}\r\n" for n in range(12)),
                431,
                "header-too-large",
            ),
            (GET.replace("Host: a\r\n", ""), 400, "malformed-request"),
            (GET + "Host: b\r\n", 400, "malformed-request"),
            (
                PUT + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
                400,
                "malformed-request",
            ),
            (PUT + "Content-Length: 500000000\r\n", 413, "content-too-large"),
            (PUT + "Transfer-Encoding: gzip\r\n", 400, "malformed-request"),
            (GET.replace("GET", "TRACE"), 405, "method-not-allowed"),
        ],
        ids=[
            "url",
            "line",
            "lines",
            "no host",
            "two hosts",
            "two lengths",
            "body",
            "coding",
            "trace",
        ],
    )
    def test_request_over_limit_gets_problem(
        self, deployment: Deployment, head: str, status: int, code: str
    ) -> None:
        response = exchange(deployment.url, f"{head}Connection: close\r\n\r\n".encode())
        headers, _, body = response.partition(b"\r\n\r\n")
        assert headers.startswith(f"HTTP/1.1 {status} ".encode()), response[:300]
        assert b"application/problem+json" in headers
        assert json.loads(body)["code"] == code

    def test_proxy_problems_match_docvault(self) -> None:
        known = {
            (error.code, error.title())
            for error in vars(errors).values()
            if isinstance(error, type) and issubclass(error, errors.DocvaultError)
            # Categories such as `Forbidden` have no code.
            if hasattr(error, "code")
        }
        problems = [
            json.loads(p.replace("\\'", "'")) for p in re.findall(r"return \d+ '(.*)';", NGINX)
        ]
        assert len(problems) == 7
        assert {(problem["code"], problem["title"]) for problem in problems} <= known

    def test_openapi_and_docs_are_limited_per_client(self, deployment: Deployment) -> None:
        def statuses(path: str, local: str) -> Counter[int]:
            transport = httpx.HTTPTransport(local_address=local)
            with httpx.Client(transport=transport, base_url=deployment.url) as client:
                responses = [client.head(path) for _ in range(80)]
            for response in responses:
                if response.status_code == 429:
                    assert int(response.headers["retry-after"]) > 0
                    assert response.headers["content-type"] == "application/problem+json"
            return Counter(response.status_code for response in responses)

        for path, local in (
            ("/openapi.json", "127.0.0.3"),
            ("/v1/admin/openapi.json", "127.0.0.4"),
        ):
            found = statuses(path, local)
            assert found.keys() == {200, 429}
            assert found[200] >= 30
        assert statuses("/v1/customer/openapi.jso", "127.0.0.4").keys() == {404}

    def test_slow_head_is_cut_off(self, deployment: Deployment) -> None:
        began = time.monotonic()
        host, port = deployment.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"GET /livez HTTP/1.1\r\n")
            with suppress(ConnectionError):
                while time.monotonic() - began < 20:
                    time.sleep(0.5)
                    connection.sendall(b"X-A: b\r\n")
        assert 9 < time.monotonic() - began < 13

    @pytest.mark.parametrize(
        "path", ["/", "/readyz", "/metrics", "/v2/x", "/livez/x", "/documents/x"]
    )
    def test_internal_paths_are_not_found(self, deployment: Deployment, path: str) -> None:
        response = httpx.get(deployment.url + path, trust_env=False)
        assert (response.status_code, response.json()["code"]) == (404, "not-found")

    @pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/v1/admin/openapi.json", "/livez"])
    def test_public_paths_are_available(self, deployment: Deployment, path: str) -> None:
        assert httpx.get(deployment.url + path, trust_env=False).status_code == 200

    def test_api_responses_are_passed_unchanged(self, deployment: Deployment) -> None:
        response = httpx.get(f"{deployment.url}/v1/admin/customers", trust_env=False)
        assert response.json()["code"] == "authentication-required"
        assert response.headers["x-request-id"] in response.json()["instance"]
        assert re.search(r"\d", response.headers["server"]) is None

    def test_clients_are_counted_by_address_seen_by_proxy(self, deployment: Deployment) -> None:
        def statuses(address: str, count: int, forged: str | None = None) -> list[int]:
            headers = {} if forged is None else {"X-Forwarded-For": forged}
            transport = httpx.HTTPTransport(local_address=address)
            with httpx.Client(transport=transport, base_url=deployment.url) as client:
                return [
                    client.get(
                        "/v1/admin/customers",
                        headers={**headers, "Authorization": f"Bearer {address}-{n}.y.z"},
                    ).status_code
                    for n in range(count)
                ]

        assert statuses("127.0.0.2", 21) == [401] * 20 + [429]
        assert statuses("127.0.0.2", 1, forged="203.0.113.9") == [429]
        assert statuses("127.0.0.3", 1, forged="127.0.0.2") == [401]

    def test_clients_behind_outer_proxy_are_counted_by_forwarded_address(
        self, deployment: Deployment
    ) -> None:
        upstreams = deployment.ports["api-1"], deployment.ports["api-2"]
        deployment.start_proxy("proxy-behind", upstreams, front="127.0.0.1")
        url = f"http://127.0.0.1:{deployment.ports['proxy-behind']}"
        deployment.wait_for(f"{url}/livez")

        def status(forwarded: str, number: int, local: str = "127.0.0.1") -> int:
            transport = httpx.HTTPTransport(local_address=local)
            with httpx.Client(transport=transport, base_url=url) as client:
                headers = {
                    "X-Forwarded-For": forwarded,
                    "Authorization": f"Bearer {forwarded}-{number}.y.z",
                }
                return client.get("/v1/admin/customers", headers=headers).status_code

        # Addresses that a client adds before those of the other proxy are not trusted.
        statuses = [status(f"198.51.100.{n}, 203.0.113.5", n) for n in range(21)]
        assert statuses == [401] * 20 + [429]
        assert status("203.0.113.6", 0) == 401
        # Nor is the header of anyone who is not that proxy.
        assert status("203.0.113.5", 0, local="127.0.0.5") == 401

    def test_proxy_body_timeout_exceeds_docvault_timeout(self) -> None:
        (seconds,) = re.findall(r"client_body_timeout (\d+)s;", NGINX)
        assert int(seconds) > Settings().body_idle_seconds + 3

    def test_upstreams_are_resolved_again(self) -> None:
        # Since 1.27.3; the nginx of the tests is older.
        release = SERVICES["proxy"]["image"].removeprefix("nginx:").split("-")[0]
        assert tuple(map(int, release.split("."))) >= (1, 30)
        servers = re.findall(r"upstream \w+ \{\n\s+zone \w+ 64k;\n\s+server (.*);", NGINX)
        assert servers == ["store:8333 resolve max_fails=0", "api:8000 resolve max_fails=0"]
        assert "resolver 127.0.0.11 " in NGINX

    def test_upload_is_rejected_before_body_is_sent(self, deployment: Deployment) -> None:
        response = exchange(
            deployment.url,
            b"PUT /v1/customer/documents/x HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: multipart/form-data; boundary=b\r\n"
            b"Content-Length: 100000000\r\n\r\n--b",
        )
        assert response.startswith(b"HTTP/1.1 401 ")

    def test_missing_api_is_503_with_retry_after(self, deployment: Deployment) -> None:
        deployment.start_proxy("proxy-alone", upstreams=(1,))
        url = f"http://127.0.0.1:{deployment.ports['proxy-alone']}/livez"

        def response() -> httpx.Response | None:
            with suppress(httpx.ConnectError):
                return httpx.get(url, trust_env=False)
            return None

        assert becomes_true(lambda: response() is not None)
        last = response()
        assert last is not None
        assert (last.status_code, last.json()["code"]) == (503, "service-unavailable")
        assert last.headers["retry-after"] == "5"


class TestDeployment:
    """Two `api` with two processes each, a worker, one database and one bucket."""

    def test_preparation_is_idempotent(self, deployment: Deployment) -> None:
        deployment.run("bucket")
        deployment.run("migrate")

    @pytest.mark.req("R-003", "R-005", "R-009")
    def test_tour_runs_through_proxy(self, deployment: Deployment, tmp_path: Path) -> None:
        (tmp_path / "examples").symlink_to(ROOT / "examples")
        (tmp_path / "README.md").symlink_to(ROOT / "README.md")
        done = subprocess.run(
            ["bash", "-euxo", "pipefail", "-c", tour("docs/tutorial.md", deployment.url)],
            cwd=tmp_path,
            env=deployment.environment("api"),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout[-1500:]}\n{done.stderr[-1500:]}"

    def test_upload_session_bytes_reach_store_through_proxy(self, deployment: Deployment) -> None:
        body = files.pdf("signed")
        declared = {
            "filename": "a.pdf",
            "size_bytes": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
        }
        with client_of_staff(deployment) as client:
            assert client.post("/v1/admin/document-types", json={"name": "Deed"}).is_success
            assert client.put("/v1/admin/customers/signed", json={}).is_success
            document = "/v1/admin/customers/signed/documents/deed"
            session = client.post(f"{document}/uploads", json=declared).json()
            url, headers = session["url"], session["headers"]
            assert url.startswith(f"{deployment.url}/documents/docvault/")
            with httpx.Client(trust_env=False) as anybody:
                forged = url[:-1] + ("0" if url[-1] != "0" else "1")
                assert anybody.put(forged, content=body, headers=headers).status_code == 403
                assert anybody.put(
                    url, content=b"x", headers=headers | {"Content-Length": "1"}
                ).is_error
                assert anybody.get(url).is_error
                stored = anybody.put(url, content=body, headers=headers)
                assert stored.status_code == 200, stored.text
                assert stored.headers["x-content-type-options"] == "nosniff"
                assert anybody.put(url, content=body, headers=headers).status_code == 412
            assert client.post(f"{document}/uploads/{session['id']}/complete").status_code == 201
            assert client.get(f"{document}/content").content == body
        assert "X-Amz-Signature" not in deployment.logs()

    def test_api_cannot_create_bucket(self, deployment: Deployment) -> None:
        with pytest.raises(ClientError, match="AccessDenied"):
            store_client(deployment).create_bucket(Bucket="of-the-api")

    @pytest.mark.req("B-216")
    def test_store_listens_only_for_those_with_credentials(self, deployment: Deployment) -> None:
        connections = deployment.processes["store"].net_connections()
        exposed = {
            connection.laddr.port
            for connection in connections
            if connection.status == psutil.CONN_LISTEN and connection.laddr.ip != "127.0.0.1"
        }
        assert exposed == {deployment.store_port, deployment.store_grpc_port}
        secrets = deployment.folder / "secrets"
        context = ssl.create_default_context(cafile=secrets / "store_certificate")
        context.check_hostname = False
        context.set_alpn_protocols(["h2"])
        # In TLS 1.3 a server refuses a client's certificate after the handshake.
        assert not answers_http2(deployment.store_grpc_port, context)
        context.load_cert_chain(secrets / "store_certificate", secrets / "store_key")
        assert answers_http2(deployment.store_grpc_port, context)

    @pytest.mark.parametrize("name", ["api-1", "api-2", "worker"])
    def test_prometheus_can_read_every_container(self, deployment: Deployment, name: str) -> None:
        url = f"http://127.0.0.1:{deployment.ports[f'{name}-metrics']}/metrics"
        deployment.wait_for(url)
        scraped = httpx.get(url, trust_env=False, timeout=20).text
        assert "\ndocvault_backlog_readable 1" in scraped
        assert "\nprocess_resident_memory_bytes" in scraped

    def test_worker_reports_health(self, deployment: Deployment) -> None:
        _, python, *arguments = SERVICES["worker"]["healthcheck"]["test"]
        assert python == "python"
        port = deployment.ports["worker-metrics"]
        command = [sys.executable, *(a.replace(":9100", f":{port}") for a in arguments)]
        assert f":{port}" in command[-1]
        assert subprocess.run(command, check=False).returncode == 0
        deployment.kill("worker")
        assert subprocess.run(command, check=False, capture_output=True).returncode != 0
        deployment.start_worker()

    @pytest.mark.req("B-020")
    def test_dead_worker_is_replaced_and_counted(self, deployment: Deployment) -> None:
        def replaced() -> bool:
            port = deployment.ports["worker-metrics"]
            with suppress(httpx.HTTPError):
                scraped = httpx.get(f"http://127.0.0.1:{port}", trust_env=False, timeout=20).text
                return 'docvault_processes_replaced_total{reason="died"} 1.0' in scraped
            return False

        assert becomes_true(lambda: len(deployment.processes["worker"].children()) == 1)
        deployment.processes["worker"].children()[0].kill()
        assert becomes_true(replaced)

    @pytest.mark.req("R-009")
    def test_processes_killed_under_load_lose_nothing(self, deployment: Deployment) -> None:
        with client_of_staff(deployment) as client:
            response = client.post("/v1/admin/document-types", json={"name": "Scan"})
            assert response.status_code == 201
            acknowledged = uploads_during(client, lambda: kill_one_of_each(deployment))
            assert len(acknowledged) > 20
            for path, body in acknowledged:
                response = client.get(f"{path}/content")
                assert (response.status_code, response.content) == (200, body)
            # An upload whose response was lost was repeated with its key: processed once.
            assert {versions(client, path) for path, _ in acknowledged} == {1}
        verified = command(deployment, "verify", "--rehash")
        assert verified.returncode == 0, verified.stdout + verified.stderr

    def test_lost_process_in_each_api_keeps_upstreams_available(
        self, deployment: Deployment
    ) -> None:
        apis = [deployment.processes[name] for name in ("api-1", "api-2")]
        stop = Event()
        with client_of_staff(deployment) as client, ThreadPoolExecutor(6) as pool:

            def count_failures() -> int:
                failures = 0
                while not stop.is_set():
                    with suppress(httpx.TransportError):
                        if client.get("/v1/admin/document-types").is_success:
                            continue
                    failures += 1
                return failures

            readers = [pool.submit(count_failures) for _ in range(6)]
            try:
                for api in apis:
                    api.children()[0].kill()
                    time.sleep(1.5)
            finally:
                stop.set()
            # Requests in progress at a kill may be lost, but nothing after it.
            assert sum(reader.result(60) for reader in readers) <= 6 * len(apis)
        assert becomes_true(lambda: {len(api.children()) for api in apis} == {2})

    @pytest.mark.req("R-009")
    def test_backup_of_database_then_store_restores_clean(self, deployment: Deployment) -> None:
        assert deployment.stop("worker") == 0
        dump = deployment.folder / "dump"
        postgres_program("pg_dump", deployment.postgres.url, "--format=custom", f"--file={dump}")
        with client_of_staff(deployment) as client:
            put_document(client, "after-the-dump", 0, files.pdf())
        keys = copy_bucket(deployment, "restored")
        deployment.start_worker()
        url = deployment.postgres.create_database("restored")
        postgres_program("pg_restore", dump, f"--dbname={url}", "--exit-on-error", "--no-owner")
        place = {"DOCVAULT_DATABASE_URL": url, "DOCVAULT_STORAGE_URL": "s3://restored/docvault"}
        verified = command(deployment, "verify", "--rehash", **place)
        assert verified.returncode == 0, verified.stdout + verified.stderr
        # Records of erasures and the mark of the event log are no documents.
        document = next(key for key in keys if "/." not in key)
        store_client(deployment).delete_object(Bucket="restored", Key=document)
        verified = command(deployment, "verify", **place)
        assert (verified.returncode, "1 missing" in verified.stdout) == (1, True)

    def test_graceful_stop_exits_with_0(self, deployment: Deployment) -> None:
        for name in ("api-1", "worker"):
            assert deployment.stop(name) == 0


def answers_http2(port: int, context: ssl.SSLContext) -> bool:
    """Return whether a server sends its HTTP/2 settings over TLS."""
    with socket.create_connection((STORE_HOST, port), timeout=10) as plain:
        try:
            with context.wrap_socket(plain) as connection:
                connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
                return bool(connection.recv(9))
        except (ssl.SSLError, ConnectionError):
            return False


def kill_one_of_each(deployment: Deployment) -> None:
    """Kill an API process, a whole `api` and the worker, each with time to recover."""
    time.sleep(2)
    process = deployment.processes["api-1"].children()[0]
    process.kill()
    assert becomes_true(lambda: len(deployment.processes["api-1"].children()) == 2)
    time.sleep(1)
    deployment.kill("api-2")
    time.sleep(1)
    deployment.start_api("api-2")
    deployment.kill("worker")
    deployment.start_worker()
    deployment.wait_for(f"http://127.0.0.1:{deployment.ports['api-2']}/readyz")
    time.sleep(2)


def uploads_during(client: httpx.Client, happening: Callable[[], None]) -> list[tuple[str, bytes]]:
    """Run four uploading clients during an event; return the acknowledged documents."""
    stop = Event()
    with ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(upload_until, client, stop, number) for number in range(4)]
        try:
            happening()
        finally:
            stop.set()
        return [sent for load in loads for sent in load.result(120)]


def upload_until(client: httpx.Client, stop: Event, number: int) -> list[tuple[str, bytes]]:
    """Upload one document after another, each until it is acknowledged; return them."""
    acknowledged = []
    for count in range(10_000):
        if stop.is_set():
            break
        body = files.png(16 + number, 16 + count)
        acknowledged.append((put_document(client, f"load-{number}", count, body), body))
        time.sleep(0.1)
    return acknowledged


def put_document(client: httpx.Client, name: str, count: int, body: bytes) -> str:
    """Create a customer and upload until it is acknowledged; return the document's path."""
    customer = f"/v1/admin/customers/{name}-{count}"
    document = f"{customer}/documents/scan"
    headers = {"Idempotency-Key": f"{name}-{count}"}
    retry(lambda: client.put(customer, json={}))
    retry(lambda: client.put(document, headers=headers, **upload_of(body, "scan")))
    return document


def retry(request: Callable[[], httpx.Response]) -> None:
    """Retry a request as a client should: on 503, on a lost response, and while in progress."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            response = request()
            if response.is_success:
                return
            assert response.status_code == 503 or "request-in-progress" in response.text, (
                response.text
            )
        time.sleep(0.2)
    raise AssertionError("no success within a minute")


def versions(client: httpx.Client, path: str) -> int:
    return len(client.get(f"{path}/versions").json()["items"])


def client_of_staff(deployment: Deployment) -> httpx.Client:
    token = command(deployment, "token", "admin").stdout.splitlines()[-1]
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=deployment.url, headers=headers, trust_env=False, timeout=60)


def store_client(deployment: Deployment, name: str = "docvault") -> Any:
    """Return a client of the store with docvault's credentials or another identity."""
    config = json.loads((deployment.folder / "secrets" / "store_config").read_text())
    identity = next(one for one in config["identities"] if one["name"] == name)
    return boto3.client(
        "s3",
        endpoint_url=f"http://{STORE_HOST}:{deployment.store_port}",
        aws_access_key_id=identity["credentials"][0]["accessKey"],
        aws_secret_access_key=identity["credentials"][0]["secretKey"],
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}),
    )


def copy_bucket(deployment: Deployment, name: str) -> list[str]:
    """Copy every object into a new bucket; return their keys."""
    store_client(deployment, "bucket").create_bucket(Bucket=name)
    client = store_client(deployment)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="documents")
    keys = [item["Key"] for page in pages for item in page["Contents"]]
    for key in keys:
        body = client.get_object(Bucket="documents", Key=key)["Body"].read()
        client.put_object(Bucket=name, Key=key, Body=body)
    return keys


def command(
    deployment: Deployment, *arguments: str, **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command like `docker compose exec api docvault …`."""
    return subprocess.run(
        ["docvault", *arguments],
        env=deployment.environment("api") | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def is_valid_command(arguments: list[str]) -> bool:
    """Return whether docvault has this command with these options; `--help` prevents running it."""
    return CliRunner().invoke(app, [*arguments, "--help"]).exit_code == 0


def last_stage() -> str:
    return "FROM " + DOCKERFILE.split("\nFROM ")[-1]


def image_user() -> str:
    users = re.findall(r"^USER (\d+)", last_stage(), re.MULTILINE)
    assert len(users) == 1
    return str(users[0])


def make_secrets(folder: Path) -> "subprocess.CompletedProcess[str]":
    script = ROOT / "deploy" / "make-secrets.sh"
    return subprocess.run([script, folder], check=True, capture_output=True, text=True)


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}
