"""Signatures, verified by implementations of others."""

import re
from base64 import b64decode, b64encode
from datetime import UTC, datetime

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from docvault.webhooks.signatures import new_ed25519_key, new_hmac_secret, public_key_of, sign

pytestmark = pytest.mark.req("B-250")

ID = "01977f3e-8a5c-7cc2-a3f1-2f4de0a1b2c3"
BODY = '{"type":"customer.created","data":{"name":"Zoë"}}'.encode()


def now() -> int:
    return int(datetime.now(UTC).timestamp())


def headers_of(signature: str, timestamp: int) -> dict[str, str]:
    return {
        "webhook-id": ID,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature,
    }


class TestHmac:
    """Secrets that begin with `whsec_`, with the library of Standard Webhooks."""

    def test_signature_verifies(self) -> None:
        secret, timestamp = new_hmac_secret(), now()
        signature = sign(secret, ID, timestamp, BODY)
        assert Webhook(secret).verify(BODY, headers_of(signature, timestamp))

    def test_signature_equals_that_of_the_library(self) -> None:
        secret, moment = new_hmac_secret(), datetime.now(UTC)
        expected = Webhook(secret).sign(msg_id=ID, timestamp=moment, data=BODY.decode())
        assert sign(secret, ID, int(moment.timestamp()), BODY) == expected

    def test_either_of_two_secrets_verifies(self) -> None:
        old, new, timestamp = new_hmac_secret(), new_hmac_secret(), now()
        signatures = " ".join(sign(secret, ID, timestamp, BODY) for secret in (new, old))
        for secret in (old, new):
            assert Webhook(secret).verify(BODY, headers_of(signatures, timestamp))

    @pytest.mark.parametrize("changed", ["body", "id", "timestamp", "secret"])
    def test_change_invalidates_the_signature(self, changed: str) -> None:
        secret, timestamp = new_hmac_secret(), now()
        signature = sign(
            new_hmac_secret() if changed == "secret" else secret,
            "other" if changed == "id" else ID,
            timestamp - 1 if changed == "timestamp" else timestamp,
            BODY + b" " if changed == "body" else BODY,
        )
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(BODY, headers_of(signature, timestamp))

    def test_secret_has_32_random_bytes(self) -> None:
        first, second = new_hmac_secret(), new_hmac_secret()
        assert len(b64decode(first.removeprefix("whsec_"), validate=True)) == 32
        assert first != second


class TestEd25519:
    """Keys that begin with `whsk_`."""

    def test_public_key_verifies(self) -> None:
        private, timestamp = new_ed25519_key(), now()
        version, _, signature = sign(private, ID, timestamp, BODY).partition(",")
        assert version == "v1a"
        public = public_key_of(private)
        assert re.fullmatch(r"whpk_[A-Za-z0-9+/]{43}=", public)
        key = Ed25519PublicKey.from_public_bytes(b64decode(public.removeprefix("whpk_")))
        content = f"{ID}.{timestamp}.".encode() + BODY
        key.verify(b64decode(signature), content)
        with pytest.raises(InvalidSignature):
            key.verify(b64decode(signature), content + b" ")

    def test_public_key_is_that_of_rfc_8032(self) -> None:
        # Section 7.1, test 2.
        seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
        public = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
        private = "whsk_" + b64encode(seed).decode()
        assert public_key_of(private) == "whpk_" + b64encode(public).decode()

    def test_keys_are_random(self) -> None:
        assert new_ed25519_key() != new_ed25519_key()


@pytest.mark.parametrize("secret", ["", "secret", "whpk_AAAA", "whsec_%%%", "whsk_AAAA"])
def test_malformed_key_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        sign(secret, ID, 1, BODY)
