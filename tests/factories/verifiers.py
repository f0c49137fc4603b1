"""Verifiers of one issuer's tokens."""

from docvault.auth.tokens import KeySource, TokenVerifier, TrustedIssuer
from docvault.auth.trust import simple_issuer
from docvault.settings import Settings


def make_verifier(settings: Settings, issuer: str, keys: KeySource) -> TokenVerifier:
    """Return a verifier with the rules of the `DOCVAULT_JWT_*` settings and other keys."""
    # The key set of the issuer is not used.
    rules = simple_issuer(settings, issuer, {"keys": [{"kty": "EC"}]})
    return TokenVerifier([TrustedIssuer(rules, keys)])
