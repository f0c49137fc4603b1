"""Identity providers: the shapes of their tokens, and keys of their own to sign them."""

import json
import time
from dataclasses import dataclass
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

from docvault.issuers import Issuer

CUSTOMER = "c8a1e3d0-52b7-4c55-9b06-2f1f8e0a7d11"


@dataclass(frozen=True, slots=True)
class Shape:
    """What a provider's tokens look like: header, common claims, and those of each caller.

    `other` is a token of the same provider that is no access token, or names no caller.
    """

    header: dict[str, Any]
    claims: dict[str, Any]
    staff: dict[str, Any]
    customer: dict[str, Any]
    other: dict[str, Any]
    # The status of the other token at the staff API.
    other_status: int = 401


ZITADEL_ROLES = "urn:zitadel:iam:org:project:roles"
KID = "9tq3VxYc2"
JWT_HEADER = {"typ": "JWT", "alg": "RS256", "kid": KID}
NO_TYPE = {"kid": KID, "alg": "RS256"}
SHAPES = {
    "Entra ID": Shape(
        {**JWT_HEADER, "x5t": KID},
        {
            "aio": "AWQAm/8TAAAA",
            "azp": "1f0e7c55-0000-4000-8000-00000000000c",
            "azpacr": "0",
            "name": "Jan Example",
            "oid": CUSTOMER,
            "preferred_username": "jan@example.org",
            "rh": "0.AAAA",
            "sub": "hVZ0x9l8cQ1s",
            "tid": "5f1e6c2a-0000-4000-8000-000000000001",
            "uti": "b9M2c8n3",
            "ver": "2.0",
        },
        {"roles": ["Documents.Admin"], "scp": "access_as_user"},
        {"scp": "openid documents.self"},
        {"roles": ["Documents.Admin"], "azp": None, "nonce": "n"},
    ),
    "Keycloak": Shape(
        JWT_HEADER,
        {
            "jti": "onrtac:4f9c",
            "aud": ["docvault", "account"],
            "sub": "f5d3c1e2-0f4e-4f7d-9f5e-0d1c2b3a4958",
            "typ": "Bearer",
            "azp": "portal",
            "sid": "b6f2",
            "acr": "1",
            "allowed-origins": ["https://portal.example.org"],
            "realm_access": {"roles": ["offline_access", "uma_authorization"]},
            "scope": "openid profile email",
            "email_verified": True,
            "preferred_username": "jan",
            "customer_id": CUSTOMER,
        },
        {"resource_access": {"docvault": {"roles": ["staff-admin"]}, "account": {"roles": ["a"]}}},
        {"resource_access": {"docvault": {"roles": ["customer"]}}},
        {"typ": "ID", "resource_access": {"docvault": {"roles": ["staff-admin"]}}},
    ),
    "Auth0": Shape(
        JWT_HEADER,
        {
            "sub": "auth0|6552f1c2",
            "aud": ["https://docvault.example.org", "https://company.eu.auth0.com/userinfo"],
            "scope": "openid profile",
            "azp": "q8JmPZ",
        },
        {"permissions": ["documents:admin"]},
        {
            "https://example.org/roles": ["customer"],
            "https://example.org/customer_id": CUSTOMER,
        },
        {"aud": "q8JmPZ", "permissions": ["documents:admin"], "nonce": "n"},
    ),
    "Okta": Shape(
        NO_TYPE,
        {
            "ver": 1,
            "jti": "AT.0mP4JKAZX1iACIT4",
            "aud": "api://docvault",
            "cid": "0oabskvc6442nkvQO0h7",
            "uid": "00uid4BxXw6I6TV4m0g3",
            "auth_time": 1,
            "sub": "jan@example.org",
            "customer_id": CUSTOMER,
        },
        {"scp": ["openid"], "groups": ["Everyone", "Docvault Admins"]},
        {"scp": ["openid", "documents.self"], "groups": ["Everyone"]},
        {"cid": None, "groups": ["Docvault Admins"]},
    ),
    "Cognito": Shape(
        NO_TYPE,
        {
            "sub": CUSTOMER,
            "aud": None,
            "version": 2,
            "client_id": "7u8v9w0x1y2z3a4b5c6d7e8f9g",
            "origin_jti": "aaaa",
            "event_id": "bbbb",
            "token_use": "access",
            "auth_time": 1,
            "jti": "cccc",
            "username": "jan",
        },
        {"cognito:groups": ["docvault-admins"], "scope": "openid"},
        {"scope": "openid docvault/documents.self"},
        {"token_use": "id", "cognito:groups": ["docvault-admins"]},
    ),
    "Zitadel": Shape(
        JWT_HEADER,
        {
            "sub": CUSTOMER,
            "aud": ["289012345678901999", "289012345678901234"],
            "jti": "V2_289-at_1",
            "client_id": "289012345678901999",
        },
        {
            "urn:zitadel:iam:org:project:roles": {
                "docvault-admin": {"2890": "company.zitadel.cloud"}
            }
        },
        {"urn:zitadel:iam:org:project:roles": {"customer": {"2890": "company.zitadel.cloud"}}},
        {
            "jti": None,
            "urn:zitadel:iam:org:project:roles": {"docvault-admin": {"2890": "company"}},
        },
    ),
    "Authentik": Shape(
        JWT_HEADER,
        {
            "sub": "b2a1d7f0c5e94b6fa1",
            "aud": "kJ2mN4pQ6rS8tU0vW1xY3zA5bC7dE9fG",
            "auth_time": 1,
            "acr": "goauthentik.io/providers/oauth2/default",
            "amr": ["pwd"],
            "sid": "d0",
            "email": "jan@example.org",
            "email_verified": False,
            "name": "Jan",
            "preferred_username": "jan",
            "azp": "kJ2mN4pQ6rS8tU0vW1xY3zA5bC7dE9fG",
            "uid": "Zk3",
            "customer_id": CUSTOMER,
        },
        {"groups": ["Docvault Admins"]},
        {"groups": ["Customers"]},
        {"uid": None, "azp": None, "groups": ["Docvault Admins"]},
    ),
    "Supabase": Shape(
        {"alg": "ES256", "kid": KID, "typ": "JWT"},
        {
            "sub": CUSTOMER,
            "aud": "authenticated",
            "email": "jan@example.org",
            "phone": "",
            "user_metadata": {"docvault": "admin"},
            "role": "authenticated",
            "aal": "aal1",
            "amr": [{"method": "password", "timestamp": 1}],
            "session_id": "1d1a",
            "is_anonymous": False,
        },
        {"app_metadata": {"provider": "email", "providers": ["email"], "docvault": "admin"}},
        {"app_metadata": {"provider": "email", "providers": ["email"], "docvault": "customer"}},
        {"app_metadata": {"provider": "email", "providers": ["email"]}},
        other_status=403,
    ),
    "Firebase": Shape(
        JWT_HEADER,
        {
            "sub": CUSTOMER,
            "aud": "company-portal",
            "auth_time": 1,
            "user_id": CUSTOMER,
            "email": "jan@example.org",
            "email_verified": True,
            "firebase": {
                "identities": {"email": ["jan@example.org"]},
                "sign_in_provider": "password",
            },
        },
        {"docvault": "admin"},
        {"docvault": "customer"},
        {"firebase": None, "docvault": "admin"},
    ),
}


class Provider:
    """A provider with its own key, of the type that its tokens are signed with."""

    def __init__(self, shape: Shape, key: ECKey | RSAKey | None = None) -> None:
        self.shape = shape
        self.key: ECKey | RSAKey = key or (
            ECKey.generate_key("P-256")
            if shape.header["alg"] == "ES256"
            else RSAKey.generate_key(2048)
        )

    def key_set(self) -> dict[str, Any]:
        members = {"kid": KID, "use": "sig", "alg": self.shape.header["alg"]}
        return {"keys": [{**self.key.as_dict(private=False), **members}]}

    def token(self, issuer: Issuer, caller: dict[str, Any]) -> str:
        """Return a token; a claim of None is left out."""
        now = int(time.time())
        claims = {"iss": issuer.issuer, "aud": issuer.audience[0], "iat": now, "exp": now + 3600}
        claims |= self.shape.claims | caller
        claims = {name: value for name, value in claims.items() if value is not None}
        # Not `jwt.encode`, which adds a `typ` where there is none.
        header, payload = dict(self.shape.header), json.dumps(claims)
        return jws.serialize_compact(header, payload, self.key, algorithms=["RS256", "ES256"])
