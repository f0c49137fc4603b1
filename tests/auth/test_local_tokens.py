"""Tokens issued by docvault itself, for deployments without an identity provider."""

import json
import stat
import time
from pathlib import Path

import pytest
from tests.factories.verifiers import make_verifier

from docvault.auth.jwks import StaticKeys
from docvault.auth.local_tokens import LocalIssuer
from docvault.auth.tokens import TokenVerifier
from docvault.domain.scopes import StaffRole
from docvault.errors import InvalidToken
from docvault.settings import Settings


@pytest.fixture
def verifier(settings: Settings, issuer: LocalIssuer) -> TokenVerifier:
    return make_verifier(settings, issuer.issuer, StaticKeys(issuer.public_keys()))


class TestLocalIssuer:
    """LocalIssuer."""

    async def test_admin_token_is_only_for_staff(
        self, issuer: LocalIssuer, verifier: TokenVerifier
    ) -> None:
        claims = await verifier.verify(issuer.admin_token("staff-1"))
        assert (claims.subject, claims.is_admin, claims.is_customer) == ("staff-1", True, False)

    async def test_auditor_token_is_not_for_admins(
        self, issuer: LocalIssuer, verifier: TokenVerifier
    ) -> None:
        claims = await verifier.verify(issuer.auditor_token("auditor-1"))
        assert (claims.subject, claims.roles) == ("auditor-1", frozenset({StaffRole.AUDITOR}))

    async def test_customer_token_names_customer(
        self, issuer: LocalIssuer, verifier: TokenVerifier
    ) -> None:
        claims = await verifier.verify(issuer.customer_token("c-1"))
        assert (claims.customer, claims.is_admin, claims.is_customer) == ("c-1", False, True)

    def test_published_keys_are_public(self, issuer: LocalIssuer) -> None:
        (key,) = issuer.public_keys()["keys"]
        assert "d" not in key
        assert {"kty", "crv", "x", "y", "kid"} <= key.keys()

    async def test_key_survives_restart(
        self, settings: Settings, issuer: LocalIssuer, verifier: TokenVerifier
    ) -> None:
        later = LocalIssuer(settings)
        assert later.public_keys() == issuer.public_keys()
        assert (await verifier.verify(later.admin_token("a"))).is_admin

    async def test_key_of_other_deployment_is_not_trusted(
        self, tmp_path: Path, verifier: TokenVerifier
    ) -> None:
        other = LocalIssuer(Settings(data_dir=tmp_path / "other"))
        with pytest.raises(InvalidToken):
            await verifier.verify(other.admin_token("staff-1"))

    def test_private_key_is_readable_only_by_owner(
        self, settings: Settings, issuer: LocalIssuer
    ) -> None:
        del issuer
        path = settings.data_dir / "secrets" / "jwt-signing-key.json"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert "d" in json.loads(path.read_text())

    async def test_configured_audience_issuer_and_type_are_used(self, tmp_path: Path) -> None:
        settings = Settings(
            data_dir=tmp_path / "data",
            jwt_audience="files",
            jwt_issuer="https://me",
            jwt_types=("JWT",),
        )
        issuer = LocalIssuer(settings)
        verifier = make_verifier(settings, "https://me", StaticKeys(issuer.public_keys()))
        claims = await verifier.verify(issuer.customer_token("c-1"))
        assert claims.issued_at == pytest.approx(time.time(), abs=5)
