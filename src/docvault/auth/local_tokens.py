"""Tokens signed locally, for trying docvault out without an identity provider."""

import json
import time
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey

from docvault.auth.keyring import read_or_create, secrets_dir
from docvault.domain.scopes import ADMIN_SCOPE, AUDITOR_SCOPE, CUSTOMER_SCOPE
from docvault.settings import Settings

LOCAL_ISSUER = "docvault"
STAFF_SECONDS = 12 * 3600
CUSTOMER_SECONDS = 3600


class LocalIssuer:
    """Signs tokens with a key that is created at the first start in the data directory."""

    def __init__(self, settings: Settings) -> None:
        path = secrets_dir(settings.data_dir) / "jwt-signing-key.json"
        self._key = ECKey.import_key(json.loads(read_or_create(path, _generate_key)))
        self._audience = settings.jwt_audience
        self._type = settings.jwt_types[0]
        self.issuer = settings.jwt_issuer or LOCAL_ISSUER

    def public_keys(self) -> dict[str, Any]:
        """Return the JWKS (RFC 7517) that verifies these tokens."""
        return {"keys": [self._key.as_dict(private=False)]}

    def admin_token(self, subject: str) -> str:
        """Return a token for staff, valid for twelve hours."""
        return self._sign(subject, ADMIN_SCOPE, STAFF_SECONDS)

    def auditor_token(self, subject: str) -> str:
        """Return a token for an auditor, valid for twelve hours."""
        return self._sign(subject, AUDITOR_SCOPE, STAFF_SECONDS)

    def customer_token(self, customer_id: str) -> str:
        """Return a token for a customer, valid for one hour."""
        return self._sign(customer_id, CUSTOMER_SCOPE, CUSTOMER_SECONDS)

    def _sign(self, subject: str, scope: str, seconds: int) -> str:
        now = int(time.time())
        header = {"alg": "ES256", "typ": self._type, "kid": self._key.kid}
        claims = {
            "iss": self.issuer,
            "aud": self._audience,
            "sub": subject,
            "scope": scope,
            "iat": now,
            "exp": now + seconds,
        }
        return jwt.encode(header, claims, self._key, algorithms=["ES256"])


def _generate_key() -> str:
    key = ECKey.generate_key("P-256", auto_kid=True)
    return json.dumps(key.as_dict(private=True))
