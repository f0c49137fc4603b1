"""The recipes of docs/how-to/identity-providers.md, with tokens of each provider's shape.

The keys come from a server of our own, over HTTP.
"""

import dataclasses
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from tests.factories.identity_providers import CUSTOMER, SHAPES, Provider
from tests.factories.setups import make_customer
from tests.fixtures.callers import with_headers
from tests.fixtures.key_server import KeyServer
from tests.torture.figures import Figure

from docvault.auth.trust import open_verifier
from docvault.issuers import Issuer, parse_issuers
from docvault.services.resources import Resources

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "identity-providers.md"
_RECIPE = re.compile(r"^### ([^\n]+)\n.*?^```json\n(.*?)^```", re.MULTILINE | re.DOTALL)
RECIPES = dict(_RECIPE.findall(PAGE.read_text()))
STAFF_PATH = "/v1/admin/document-types"
CUSTOMER_PATH = "/v1/customer/documents"

pytestmark = pytest.mark.req("B-110")


@dataclass(frozen=True, slots=True)
class Deployment:
    """The service with the issuers of a recipe, and their provider."""

    http: httpx.AsyncClient
    issuers: tuple[Issuer, ...]
    provider: Provider

    async def ask(self, path: str, token: str) -> int:
        client = with_headers(self.http, {"Authorization": f"Bearer {token}"})
        return (await client.get(path)).status_code

    def issuer_of(self, role: str) -> Issuer:
        return next(one for one in self.issuers if getattr(one, role) is not None)


Deploy = Callable[[str], Any]


@pytest.fixture
async def deploy(
    app: FastAPI, http: httpx.AsyncClient, admin: httpx.AsyncClient, resources: Resources
) -> Deploy:
    """Return a context manager that runs the service with a recipe."""

    @asynccontextmanager
    async def run(name: str) -> AsyncIterator[Deployment]:
        await make_customer(admin, CUSTOMER)
        provider, server = Provider(SHAPES[name]), KeyServer()
        server.serve(provider.key_set())
        async with AsyncExitStack() as stack:
            url = await stack.enter_async_context(server.serving())
            # The recipe as it stands, except for the address of the keys.
            recipe = [one | {"jwks_url": url} for one in json.loads(RECIPES[name])]
            issuers = parse_issuers(json.dumps(recipe))
            client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
            settings = resources.settings.model_copy(update={"issuers": issuers})
            tokens = open_verifier(settings, client)
            app.state.resources = dataclasses.replace(resources, tokens=tokens)
            yield Deployment(http, issuers, provider)

    return run


def test_every_recipe_has_a_shape() -> None:
    assert RECIPES.keys() == SHAPES.keys()


@pytest.mark.guarantee(
    "B-292",
    promise="Beside others, an identity provider's tokens open what its recipe says and nothing of"
    " another's.",
    tried="One deployment trusts the issuers of all recipes of docs/how-to/identity-providers.md."
    " Each provider has a key server and signs tokens of its shape, for staff and for a customer;"
    " each also signs tokens in the name of every other provider.",
    not_shown="The providers themselves: the shapes of their tokens are from their documentation.",
)
async def test_tokens_of_all_providers_at_once(
    app: FastAPI,
    http: httpx.AsyncClient,
    admin: httpx.AsyncClient,
    resources: Resources,
    figures: dict[str, Figure],
) -> None:
    await make_customer(admin, CUSTOMER)
    providers = {name: Provider(shape) for name, shape in SHAPES.items()}
    async with AsyncExitStack() as stack:
        issuers: dict[str, tuple[Issuer, ...]] = {}
        for name, provider in providers.items():
            server = KeyServer()
            server.serve(provider.key_set())
            url = await stack.enter_async_context(server.serving())
            recipe = [one | {"jwks_url": url} for one in json.loads(RECIPES[name])]
            issuers[name] = parse_issuers(json.dumps(recipe))
        client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        trusted = tuple(issuer for several in issuers.values() for issuer in several)
        settings = resources.settings.model_copy(update={"issuers": trusted})
        tokens = open_verifier(settings, client)
        app.state.resources = dataclasses.replace(resources, tokens=tokens)
        outcomes: Counter[tuple[str, int]] = Counter()
        for signer, provider in providers.items():
            for named, shape in SHAPES.items():
                deployment = Deployment(http, issuers[named], provider)
                own = "own" if signer == named else "foreign"
                # The shape of the provider that the token names, and the key of the other.
                header = shape.header | {"alg": provider.shape.header["alg"]}
                forger = Provider(dataclasses.replace(shape, header=header), provider.key)
                staff = forger.token(deployment.issuer_of("staff"), shape.staff)
                customer = forger.token(deployment.issuer_of("customers"), shape.customer)
                for token, path, other in (
                    (staff, STAFF_PATH, CUSTOMER_PATH),
                    (customer, CUSTOMER_PATH, STAFF_PATH),
                ):
                    outcomes[own, await deployment.ask(path, token)] += 1
                    outcomes[f"{own}, other API", await deployment.ask(other, token)] += 1
    count = len(providers)
    assert outcomes == {
        ("own", 200): 2 * count,
        ("own, other API", 403): 2 * count,
        ("foreign", 401): 2 * count * (count - 1),
        ("foreign, other API", 401): 2 * count * (count - 1),
    }
    figures["providers"] = count
    figures["tokens of staff and customers accepted"] = outcomes["own", 200]
    figures["the same at the other API: 403"] = outcomes["own, other API", 403]
    figures["tokens signed by another provider: 401"] = (
        outcomes["foreign", 401] + outcomes["foreign, other API", 401]
    )


@pytest.mark.parametrize("name", SHAPES)
class TestRecipes:
    """DOCVAULT_ISSUERS of each recipe."""

    def test_recipe_is_valid_as_it_stands(self, name: str) -> None:
        assert parse_issuers(RECIPES[name])

    async def test_staff_and_customer_reach_their_own_api_alone(
        self, deploy: Deploy, name: str
    ) -> None:
        async with deploy(name) as deployment:
            shape, provider = SHAPES[name], deployment.provider
            staff = provider.token(deployment.issuer_of("staff"), shape.staff)
            customer = provider.token(deployment.issuer_of("customers"), shape.customer)
            assert await deployment.ask(STAFF_PATH, staff) == 200
            assert await deployment.ask(CUSTOMER_PATH, customer) == 200
            assert await deployment.ask(STAFF_PATH, customer) == 403
            assert await deployment.ask(CUSTOMER_PATH, staff) == 403

    async def test_token_that_is_no_access_token_or_names_nobody_is_refused(
        self, deploy: Deploy, name: str
    ) -> None:
        async with deploy(name) as deployment:
            shape = SHAPES[name]
            token = deployment.provider.token(deployment.issuer_of("staff"), shape.other)
            assert await deployment.ask(STAFF_PATH, token) == shape.other_status

    async def test_other_key_under_the_same_id_is_refused(self, deploy: Deploy, name: str) -> None:
        async with deploy(name) as deployment:
            token = Provider(SHAPES[name]).token(deployment.issuer_of("staff"), SHAPES[name].staff)
            assert await deployment.ask(STAFF_PATH, token) == 401


class TestEntraApplications:
    """Entra ID, client credentials: no `scp`, roles alone."""

    async def test_application_with_the_role_is_staff(self, deploy: Deploy) -> None:
        async with deploy("Entra ID") as deployment:
            caller = {"roles": ["Documents.Admin"], "idtyp": "app", "preferred_username": None}
            token = deployment.provider.token(deployment.issuers[0], caller)
            assert await deployment.ask(STAFF_PATH, token) == 200
