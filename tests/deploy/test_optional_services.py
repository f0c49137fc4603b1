"""The compose files that add services: monitoring, and an identity provider."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.auth.test_identity_providers import RECIPES
from tests.fixtures.compose import COMPOSE, ROOT, without_variables

from docvault.issuers import parse_issuers

MONITORING: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.monitoring.yml").read_text())
PROVIDER: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.idp.yml").read_text())
KEYCLOAK = PROVIDER["services"]["keycloak"]
ADDED = {**MONITORING["services"], "keycloak": KEYCLOAK}
FOLDER = ROOT / "deploy" / "keycloak"
REALM: dict[str, Any] = json.loads((FOLDER / "realm.json").read_text())


class TestAddedServices:
    @pytest.mark.parametrize("name", ADDED)
    def test_containers_are_confined(self, name: str) -> None:
        service = ADDED[name]
        # Keycloak rebuilds itself when it starts.
        assert service.get("read_only", name == "keycloak") is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["mem_limit"] == service["memswap_limit"]
        assert service["pids_limit"]
        assert service["logging"]["options"]["max-size"]

    @pytest.mark.parametrize("name", ADDED)
    def test_containers_restart_and_have_health_checks(self, name: str) -> None:
        assert ADDED[name]["restart"] == "unless-stopped"
        assert ADDED[name]["healthcheck"]["test"][0] == "CMD"

    @pytest.mark.parametrize("name", ADDED)
    def test_ports_are_published_on_loopback(self, name: str) -> None:
        assert all(port.startswith("127.0.0.1:") for port in ADDED[name].get("ports", ()))

    @pytest.mark.parametrize("name", ADDED)
    def test_mounted_files_exist(self, name: str) -> None:
        mounts = [mount.split(":") for mount in ADDED[name]["volumes"]]
        files = [mount for mount in mounts if mount[0].startswith("./")]
        assert files
        assert all((ROOT / path).is_file() and mode == "ro,z" for path, _, mode in files)

    @pytest.mark.parametrize("file", [MONITORING, PROVIDER], ids=["monitoring", "idp"])
    def test_secrets_are_made_with_the_others(self, file: dict[str, Any]) -> None:
        script = (ROOT / "deploy" / "make-secrets.sh").read_text()
        for name, secret in file["secrets"].items():
            assert without_variables(secret["file"]) == f"./secrets/{name}"
            kind, _, part = name.partition("_")
            assert f"keep {name}" in script or (f"certificate {kind} " in script and part)


class TestMonitoring:
    """docker-compose.monitoring.yml."""

    @pytest.mark.req("B-220")
    def test_prometheus_reaches_metrics_and_nothing_else(self) -> None:
        assert MONITORING["services"]["prometheus"]["networks"] == ["monitoring"]
        assert COMPOSE["networks"]["monitoring"] == {"internal": True}
        members = {name for name, s in COMPOSE["services"].items() if "monitoring" in s["networks"]}
        scraped = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yml").read_text())
        names = {
            name
            for job in scraped["scrape_configs"]
            for found in job["dns_sd_configs"]
            for name in found["names"]
        }
        assert names == members == {"api", "worker"}

    @pytest.mark.req("B-220")
    def test_grafana_has_the_dashboard_and_its_source(self) -> None:
        mounts = dict(
            mount.split(":")[:2] for mount in MONITORING["services"]["grafana"]["volumes"]
        )
        folder = ROOT / "deploy" / "grafana"
        (source,) = yaml.safe_load((folder / "datasource.yml").read_text())["datasources"]
        (provider,) = yaml.safe_load((folder / "dashboards.yml").read_text())["providers"]
        assert source["url"] == "http://prometheus:9090"
        assert mounts["./deploy/grafana/docvault.json"] == provider["options"]["path"]


class TestIdentityProvider:
    """docker-compose.idp.yml: the recipe for Keycloak, which runs nowhere in the tests."""

    def test_issuers_are_those_of_the_recipe(self) -> None:
        (issuer,) = json.loads((FOLDER / "issuers.json").read_text())
        (recipe,) = json.loads(RECIPES["Keycloak"])
        places = {"issuer", "jwks_url"}
        assert {k: v for k, v in issuer.items() if k not in places} == {
            k: v for k, v in recipe.items() if k not in places
        }

    @pytest.mark.req("B-265")
    def test_addresses_are_those_of_the_container(self) -> None:
        (issuer,) = parse_issuers((FOLDER / "issuers.json").read_text())
        realm = f"/realms/{REALM['realm']}"
        assert issuer.issuer == KEYCLOAK["environment"]["KC_HOSTNAME"] + realm
        assert str(issuer.jwks_url).startswith(f"https://keycloak:8443{realm}/")
        for name in ("api", "worker"):
            added = PROVIDER["services"][name]
            settings = added["environment"]
            (mount,) = added["volumes"]
            assert mount.split(":")[1] == settings["DOCVAULT_ISSUERS"]
            assert settings["DOCVAULT_CA_FILE"] == f"/run/secrets/{added['secrets'][0]}"
            assert set(KEYCLOAK["networks"]) <= set(COMPOSE["services"][name]["networks"])

    @pytest.mark.req("B-265")
    def test_realm_makes_tokens_of_the_recipe(self) -> None:
        (issuer,) = parse_issuers((FOLDER / "issuers.json").read_text())
        assert issuer.staff is not None
        assert issuer.staff.admin is not None
        assert issuer.customers is not None
        assert issuer.customers.values is not None
        roles = {role["name"] for role in REALM["roles"]["client"]["docvault"]}
        assert roles == {*issuer.staff.admin, *issuer.customers.values}
        assert [user["clientRoles"]["docvault"] for user in REALM["users"]] == [
            ["staff-admin"],
            ["customer"],
        ]
        portal = next(one for one in REALM["clients"] if one["clientId"] == "portal")
        mapped = {one["protocolMapper"]: one["config"] for one in portal["protocolMappers"]}
        audience = mapped["oidc-audience-mapper"]["included.client.audience"]
        assert issuer.audience == (audience,)
        assert mapped["oidc-usermodel-property-mapper"]["claim.name"] == "customer_id"

    def test_no_password_is_built_in(self) -> None:
        values = [c["value"] for user in REALM["users"] for c in user["credentials"]]
        assert values == ["${IDENTITY_PASSWORD}"] * 2
        script = KEYCLOAK["entrypoint"][2]
        assert "IDENTITY_PASSWORD=$$(cat /run/secrets/identity_password)" in script


def test_deployment_files_are_readable_by_containers() -> None:
    # The script names the folders, so a new one has to be added to it.
    script = (ROOT / "deploy" / "make-secrets.sh").read_text()
    for service in ADDED.values():
        for mount in service["volumes"]:
            folder = Path(mount.split(":")[0]).parent
            assert not mount.startswith("./") or f'"$here"/{folder.name}/*' in script
