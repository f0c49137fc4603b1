"""Signatures of webhooks (Standard Webhooks 1.0)."""

import binascii
import hmac
import json
import time
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any

TOLERANCE_SECONDS = 300
MAX_TIMESTAMP_LENGTH = 12

_Verify = Callable[[bytes, bytes], bool]


class WebhookVerificationError(Exception):
    """The message was not sent by docvault, was changed, or is old."""


def verify_webhook(body: bytes, headers: Mapping[str, str], secret: str) -> dict[str, Any]:
    """Return the message of a webhook if its signature is valid.

    `body` is the body as it was received, before anything parses it. `secret` is what docvault
    showed when the webhook was created: `whsec_…`, or `whpk_…` with the signing `ed25519`, which
    needs `docvault-client[ed25519]`.

    Raises:
        WebhookVerificationError: No signature is valid, or the message is older than five minutes.
    """
    version, verify = _verifier(secret)
    fields = {name.lower(): value for name, value in headers.items()}
    message_id, timestamp, signatures = (
        _read(fields, f"webhook-{name}") for name in ("id", "timestamp", "signature")
    )
    _check_time(timestamp)
    signed = f"{message_id}.{timestamp}.".encode() + body
    for signature in signatures.split(" "):
        found, _, text = signature.partition(",")
        if found == version and verify(_decode(text), signed):
            message: dict[str, Any] = json.loads(body)
            return message
    raise WebhookVerificationError("No signature is valid.")


def _verifier(secret: str) -> tuple[str, _Verify]:
    if secret.startswith("whsec_"):
        key = b64decode(secret.removeprefix("whsec_"), validate=True)
        return "v1", lambda signature, signed: hmac.compare_digest(
            signature, hmac.digest(key, signed, "sha256")
        )
    if secret.startswith("whpk_"):
        return "v1a", _ed25519_verifier(b64decode(secret.removeprefix("whpk_"), validate=True))
    raise ValueError("The secret must begin with whsec_ or whpk_.")


def _ed25519_verifier(key: bytes) -> _Verify:
    # Not everybody needs it.
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
        Ed25519PublicKey,
    )

    public = Ed25519PublicKey.from_public_bytes(key)

    def verify(signature: bytes, signed: bytes) -> bool:
        try:
            public.verify(signature, signed)
        except InvalidSignature:
            return False
        return True

    return verify


def _check_time(timestamp: str) -> None:
    is_number = timestamp.isascii() and timestamp.isdecimal()
    if not is_number or len(timestamp) > MAX_TIMESTAMP_LENGTH:
        raise WebhookVerificationError("The timestamp is malformed.")
    if abs(time.time() - int(timestamp)) > TOLERANCE_SECONDS:
        raise WebhookVerificationError(
            "The message is older than five minutes, or a clock is wrong."
        )


def _read(fields: Mapping[str, str], name: str) -> str:
    try:
        return fields[name]
    except KeyError:
        raise WebhookVerificationError(f"The header {name} is missing.") from None


def _decode(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
