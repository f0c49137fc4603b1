"""Several trusted issuers: what one may bring is nothing to another."""

import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, RSAKey
from tests.factories.clock import Clock
from tests.fixtures.key_server import KeyServer

from docvault.auth import jwks
from docvault.auth.tokens import TokenClaims, TokenVerifier
from docvault.auth.trust import open_verifier
from docvault.domain.scopes import StaffRole
from docvault.errors import InvalidToken
from docvault.issuers import parse_issuers
from docvault.settings import Settings

STAFF = "https://workforce.example"
CUSTOMERS = "https://customers.example"
SIMPLE = "https://simple.example"

pytestmark = pytest.mark.req("B-110")


@dataclass(frozen=True, slots=True)
class Signer:
    """An issuer's key and its key server. All issuers use the same key id."""

    issuer: str
    key: ECKey | RSAKey
    server: KeyServer

    def token(self, *, key: Any = None, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """Return a token, an admin's by default; a claim of None is left out."""
        now = int(time.time())
        given = {
            "iss": self.issuer,
            "aud": "docvault",
            "sub": "c-1",
            "scope": "docvault:admin",
            "iat": now,
            "exp": now + 600,
        } | claims
        given = {name: value for name, value in given.items() if value is not None}
        algorithm = "ES256" if isinstance(self.key, ECKey) else "RS256"
        head = {"alg": algorithm, "typ": "at+jwt", "kid": "one"} | (header or {})
        head = {name: value for name, value in head.items() if value is not None}
        names = [head["alg"]]
        return jws.serialize_compact(head, json.dumps(given), key or self.key, algorithms=names)


@dataclass(frozen=True, slots=True)
class World:
    """A verifier that trusts a staff issuer, a customer issuer and that of the simple settings."""

    verifier: TokenVerifier
    staff: Signer
    customers: Signer
    simple: Signer

    async def verify(self, token: str) -> TokenClaims:
        return await self.verifier.verify(token)

    async def refuse(self, token: str) -> None:
        with pytest.raises(InvalidToken):
            await self.verifier.verify(token)

    @property
    def fetches(self) -> list[int]:
        return [len(one.server.requests) for one in (self.staff, self.customers, self.simple)]


def signer(issuer: str, key: ECKey | RSAKey) -> Signer:
    server = KeyServer()
    server.serve({"keys": [{**key.as_dict(private=False), "kid": "one"}]})
    return Signer(issuer, key, server)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    staff = signer(STAFF, ECKey.generate_key("P-256"))
    customers = signer(CUSTOMERS, ECKey.generate_key("P-256"))
    simple = signer(SIMPLE, RSAKey.generate_key(2048))
    async with (
        staff.server.serving() as staff_url,
        customers.server.serving() as customers_url,
        simple.server.serving() as simple_url,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        issuers = [
            {
                "name": "workforce",
                "issuer": STAFF,
                "jwks_url": staff_url,
                "audience": "docvault",
                "algorithms": ["ES256"],
                "staff": {"claim": "scope", "admin": "docvault:admin"},
            },
            {
                "name": "portal",
                "issuer": CUSTOMERS,
                "jwks_url": customers_url,
                "audience": "docvault",
                "customers": {"claim": "scope", "values": "docvault:customer"},
            },
        ]
        settings = Settings(
            data_dir=tmp_path,
            issuers=parse_issuers(json.dumps(issuers)),
            jwt_issuer=SIMPLE,
            jwt_jwks_url=simple_url,
        )
        yield World(open_verifier(settings, client), staff, customers, simple)


class TestOwnRules:
    """TokenVerifier.verify() of what each issuer may bring."""

    async def test_each_issuer_brings_its_callers(self, world: World) -> None:
        assert (await world.verify(world.staff.token())).is_admin
        customer = await world.verify(world.customers.token(scope="docvault:customer"))
        assert (customer.customer, customer.is_admin) == ("c-1", False)
        assert (await world.verify(world.simple.token())).is_admin

    @pytest.mark.req("B-255")
    async def test_roles_of_a_token_add_up(self, world: World) -> None:
        admin, auditor = "docvault:admin", "docvault:auditor"
        for scope, roles in (
            (auditor, {StaffRole.AUDITOR}),
            (f"{auditor} {admin}", {StaffRole.ADMIN, StaffRole.AUDITOR}),
            (admin, {StaffRole.ADMIN}),
        ):
            assert (await world.verify(world.simple.token(scope=scope))).roles == roles
        await world.refuse(world.simple.token(scope=f"{auditor} docvault:customer"))

    @pytest.mark.req("B-255")
    async def test_issuer_without_auditors_brings_none(self, world: World) -> None:
        assert not (await world.verify(world.staff.token(scope="docvault:auditor"))).roles

    async def test_customer_issuer_brings_no_staff(self, world: World) -> None:
        claims = await world.verify(world.customers.token(scope="docvault:admin"))
        assert (claims.is_admin, claims.is_customer) == (False, False)
        claims = await world.verify(
            world.customers.token(scope="docvault:admin docvault:customer", roles=["admin"])
        )
        assert (claims.is_admin, claims.is_customer) == (False, True)

    async def test_staff_issuer_brings_no_customer_of_the_same_id(self, world: World) -> None:
        claims = await world.verify(world.staff.token(scope="docvault:customer"))
        assert (claims.customer, claims.is_customer) == (None, False)

    async def test_subjects_of_different_issuers_differ(self, world: World) -> None:
        """They are the actors of the audit trail, of idempotency keys and of rate limits."""
        subjects = {
            (await world.verify(one.token())).subject
            for one in (world.staff, world.customers, world.simple)
        }
        assert subjects == {"workforce:c-1", "portal:c-1", "c-1"}

    async def test_simple_subject_cannot_pass_for_another_issuers(self, world: World) -> None:
        await world.refuse(world.simple.token(sub="workforce:c-1"))


class TestForeignKeys:
    """TokenVerifier.verify() of tokens that name one issuer and are signed by another."""

    async def test_key_of_another_issuer_under_the_same_id_is_refused(self, world: World) -> None:
        await world.refuse(world.staff.token(key=world.customers.key))
        await world.refuse(world.customers.token(iss=STAFF))
        await world.refuse(world.staff.token(key=world.customers.key, header={"kid": None}))

    async def test_verified_token_of_one_issuer_opens_nothing_of_another(
        self, world: World
    ) -> None:
        token = world.customers.token(scope="docvault:customer")
        await world.verify(token)
        head, _, signature = token.split(".")
        payload = world.staff.token().split(".")[1]
        await world.refuse(f"{head}.{payload}.{signature}")

    async def test_algorithm_of_another_issuer_is_refused(self, world: World) -> None:
        await world.refuse(world.staff.token(key=world.simple.key, header={"alg": "RS256"}))

    @pytest.mark.parametrize("algorithm", ["HS256", "HS512"])
    async def test_public_key_is_no_shared_secret(self, world: World, algorithm: str) -> None:
        secret = OctKey.import_key(json.dumps(world.staff.key.as_dict(private=False)))
        await world.refuse(world.staff.token(key=secret, header={"alg": algorithm}))

    async def test_keys_named_by_the_token_are_ignored(self, world: World) -> None:
        own = ECKey.generate_key("P-256")
        for header in (
            {"jku": f"{CUSTOMERS}/jwks"},
            {"x5u": f"{CUSTOMERS}/cert.pem"},
            {"jwk": own.as_dict(private=False)},
        ):
            await world.refuse(world.staff.token(key=own, header=header))


class TestUnknownIssuers:
    """TokenVerifier.verify() of issuers that are not trusted."""

    @pytest.mark.parametrize(
        "issuer",
        [
            STAFF + "/",
            STAFF.upper(),
            STAFF + " ",
            "",
            None,
            [STAFF],
            [[STAFF]],
            {STAFF: 1},
            7,
            f"{STAFF},{CUSTOMERS}",
        ],
    )
    async def test_other_spelling_is_refused(self, world: World, issuer: object) -> None:
        await world.refuse(world.staff.token(iss=issuer))

    async def test_flood_of_unknown_issuers_fetches_nothing(self, world: World) -> None:
        for number in range(200):
            await world.refuse(world.staff.token(iss=f"https://{number}.example"))
        assert world.fetches == [0, 0, 0]

    async def test_flood_of_unknown_keys_fetches_once_and_only_from_their_issuer(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(jwks, "time", Clock())
        for number in range(100):
            await world.refuse(world.staff.token(header={"kid": str(number)}))
        assert world.fetches == [1, 0, 0]

    async def test_failing_issuer_does_not_affect_another(self, world: World) -> None:
        world.customers.server.serve(b"", "500 Internal Server Error")
        assert (await world.verify(world.staff.token())).is_admin


class TestOversizedClaims:
    """TokenVerifier.verify() of claims that are large or deep."""

    async def test_token_of_more_than_8_kib_is_refused_without_a_fetch(self, world: World) -> None:
        await world.refuse(world.staff.token(groups=["g" * 36] * 200))
        assert world.fetches == [0, 0, 0]

    async def test_deeply_nested_claim_is_refused_or_ignored(self, world: World) -> None:
        deep: Any = "docvault:admin"
        for _ in range(500):
            deep = [deep]
        claims = await world.verify(world.staff.token(scope=deep))
        assert not claims.is_admin
