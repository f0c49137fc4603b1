"""Bearer tokens sent to a real endpoint: accepted forms, and every known attack."""

# Lambdas that bind a loop variable as a default: mypy cannot infer their type.
# mypy: disable-error-code="misc"

import base64
import dataclasses
import hashlib
import hmac
import json
import string
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from fastapi import FastAPI
from tests.factories.clock import Clock
from tests.factories.setups import make_customer
from tests.factories.verifiers import make_verifier
from tests.fixtures.key_server import KeyServer
from tests.fixtures.problem_checks import ProblemCheckingTransport
from tests.torture.figures import Figure

from docvault.api.app import create_app
from docvault.auth import jwks
from docvault.auth.jwks import StaticKeys
from docvault.errors import InvalidToken
from docvault.server.startup import open_resources
from docvault.services.resources import Resources
from docvault.settings import Settings

ISSUER = "https://idp.example"
STAFF_ENDPOINT = "/v1/admin/document-types"
ADMIN = "docvault:admin"
CUSTOMER = "docvault:customer"
SHA256 = hashes.SHA256()


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int, length: int | None = None) -> str:
    return b64(value.to_bytes(length or (value.bit_length() + 7) // 8, "big"))


def rsa_jwk(key: rsa.RSAPrivateKey, **members: Any) -> dict[str, Any]:
    public = key.public_key().public_numbers()
    return {"kty": "RSA", "n": number(public.n), "e": number(public.e), **members}


def ec_jwk(key: ec.EllipticCurvePrivateKey, crv: str, **members: Any) -> dict[str, Any]:
    public, size = key.public_key().public_numbers(), (key.key_size + 7) // 8
    return {"kty": "EC", "crv": crv, "x": number(public.x, size), "y": number(public.y, size)} | (
        members
    )


def ed_jwk(key: ed25519.Ed25519PrivateKey, **members: Any) -> dict[str, Any]:
    return {"kty": "OKP", "crv": "Ed25519", "x": b64(key.public_key().public_bytes_raw())} | members


def ecdsa(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    r, s = decode_dss_signature(key.sign(data, ec.ECDSA(SHA256)))
    size = (key.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def pss(digest: hashes.HashAlgorithm) -> padding.PSS:
    return padding.PSS(padding.MGF1(digest), digest.digest_size)


class Provider:
    """An identity provider: signing keys, their JWKS, and a key that it does not publish."""

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(65537, 2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())
        self.p384 = ec.generate_private_key(ec.SECP384R1())
        self.k256 = ec.generate_private_key(ec.SECP256K1())
        self.ed = ed25519.Ed25519PrivateKey.generate()
        self.foreign_key = rsa.generate_private_key(65537, 2048)
        self.jwks = {
            "keys": [
                rsa_jwk(self.rsa, kid="rsa", use="sig"),
                ec_jwk(self.ec, "P-256", kid="ec", key_ops=["verify"]),
                ed_jwk(self.ed, kid="ed"),
                ec_jwk(self.p384, "P-384", kid="p384"),
                ec_jwk(self.k256, "secp256k1", kid="k256"),
                rsa_jwk(self.rsa, kid="only-rs256", alg="RS256"),
                ec_jwk(self.ec, "P-256", kid="for-encryption", use="enc"),
                ec_jwk(self.ec, "P-256", kid="for-derivation", key_ops=["deriveKey"]),
            ]
        }

    def sign(self, algorithm: str, data: bytes) -> bytes:
        """Sign with one of the accepted algorithms."""
        match algorithm:
            case "RS256":
                return self.rsa.sign(data, padding.PKCS1v15(), SHA256)
            case "PS256":
                return self.rsa.sign(data, pss(SHA256), SHA256)
            case "ES256":
                return ecdsa(self.ec, data)
            case _:
                return self.ed.sign(data)

    def token(
        self,
        claims: object = None,
        *,
        algorithm: str = "RS256",
        sign: Callable[[bytes], bytes] | None = None,
        **header: Any,
    ) -> str:
        """Return a token, valid by default; a header of None is omitted."""
        kid = {"ES256": "ec", "EdDSA": "ed", "Ed25519": "ed"}.get(algorithm, "rsa")
        fields = {"alg": algorithm, "typ": "at+jwt", "kid": kid} | header
        fields = {name: value for name, value in fields.items() if value is not None}
        return self.raw_token(
            json.dumps(fields).encode(),
            json.dumps(good_claims() if claims is None else claims).encode(),
            sign or (lambda data: self.sign(algorithm, data)),
        )

    def raw_token(
        self, header: bytes, payload: bytes, sign: Callable[[bytes], bytes] | None = None
    ) -> str:
        signed = f"{b64(header)}.{b64(payload)}"
        return f"{signed}.{b64((sign or (lambda data: self.sign('RS256', data)))(signed.encode()))}"

    def pem(self) -> bytes:
        return self.rsa.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def der(self) -> bytes:
        return self.rsa.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )


def good_claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a valid admin token; a change to `...` omits the claim."""
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": "docvault",
        "sub": "staff-1",
        "scope": ADMIN,
        "iat": now,
        "exp": now + 300,
    } | changes
    return {name: value for name, value in claims.items() if value is not ...}


def now(offset: float = 0) -> int:
    return int(time.time() + offset)


def mac(secret: bytes, digest: str = "sha256") -> Callable[[bytes], bytes]:
    return lambda data: hmac.digest(secret, data, digest)


def swap_part(token: str, index: int, part: str) -> str:
    parts = token.split(".")
    parts[index] = part
    return ".".join(parts)


def flip_signature(token: str) -> str:
    head, _, signature = token.rpartition(".")
    raw = bytearray(base64.urlsafe_b64decode(signature + "=="))
    raw[20] ^= 1
    return f"{head}.{b64(bytes(raw))}"


def der_signature(p: Provider) -> str:
    return p.token(algorithm="ES256", sign=lambda data: p.ec.sign(data, ec.ECDSA(SHA256)))


def by_foreign_key(p: Provider, **header: Any) -> str:
    """Return a token signed by a key embedded in the token."""
    return p.token(sign=lambda data: p.foreign_key.sign(data, padding.PKCS1v15(), SHA256), **header)


def unencoded(p: Provider, **header: Any) -> str:
    """A detached, unencoded payload (RFC 7797)."""
    head = b64(json.dumps({"alg": "RS256", "typ": "at+jwt", "kid": "rsa", **header}).encode())
    signed = f"{head}.{json.dumps(good_claims())}".encode()
    return f"{head}..{b64(p.sign('RS256', signed))}"


Make = Callable[[Provider], str]

HEADERS: dict[str, Make] = {
    **{
        f"alg {name} without a signature": lambda p, name=name: p.token(
            alg=name, sign=lambda _: b""
        )
        for name in ("none", "None", "NONE", "nOnE", "")
    },
    "alg none with a good signature": lambda p: p.token(alg="none"),
    "alg missing": lambda p: p.token(alg=None),
    "alg a list": lambda p: p.token(alg=["RS256"]),
    "alg a number": lambda p: p.token(alg=256),
    "alg an object": lambda p: p.token(alg={"RS256": 1}),
    "alg in lower case": lambda p: p.token(alg="rs256"),
    "alg with a blank": lambda p: p.token(alg="RS256 "),
    "HS256 keyed with the public PEM": lambda p: p.token(alg="HS256", sign=mac(p.pem())),
    "HS256 keyed with the stripped PEM": lambda p: p.token(alg="HS256", sign=mac(p.pem().strip())),
    "HS256 keyed with the public DER": lambda p: p.token(alg="HS256", sign=mac(p.der())),
    "HS256 keyed with the JWK": lambda p: p.token(
        alg="HS256", sign=mac(json.dumps(p.jwks["keys"][0]).encode())
    ),
    "HS256 keyed with the modulus": lambda p: p.token(
        alg="HS256", sign=mac(p.jwks["keys"][0]["n"].encode())
    ),
    "HS256 keyed with nothing": lambda p: p.token(alg="HS256", sign=mac(b"")),
    "HS512 keyed with the public PEM": lambda p: p.token(alg="HS512", sign=mac(p.pem(), "sha512")),
    "RS512 with the right key": lambda p: p.token(
        alg="RS512", sign=lambda d: p.rsa.sign(d, padding.PKCS1v15(), hashes.SHA512())
    ),
    "PS512 with the right key": lambda p: p.token(
        alg="PS512", sign=lambda d: p.rsa.sign(d, pss(hashes.SHA512()), hashes.SHA512())
    ),
    "RS256 declared as PS256": lambda p: p.token(alg="PS256"),
    "RS256 declared as ES256": lambda p: p.token(alg="ES256"),
    "RS256 with the kid of the EC key": lambda p: p.token(kid="ec"),
    "PS256 with a key for RS256 alone": lambda p: p.token(algorithm="PS256", kid="only-rs256"),
    "ES256 signature in DER": der_signature,
    "ES256 signature of zeros": lambda p: p.token(algorithm="ES256", sign=lambda _: bytes(64)),
    "EdDSA signature of zeros": lambda p: p.token(algorithm="EdDSA", sign=lambda _: bytes(64)),
    **{
        f"kid {kid!r:.40}": lambda p, kid=kid: by_foreign_key(p, kid=kid)
        for kid in (
            "../../../../../../dev/null",
            "' OR 1=1 --",
            "x' UNION SELECT 'secret",
            "nobody",
            "",
            "\x00",
            "https://evil.example/key",
            "k" * 4000,
        )
    },
    "kid null": lambda p: p.raw_token(
        b'{"alg":"RS256","typ":"at+jwt","kid":null}', json.dumps(good_claims()).encode()
    ),
    "kid a number": lambda p: p.token(kid=1),
    "kid a list": lambda p: p.token(kid=["rsa"]),
    "kid an object": lambda p: p.token(kid={"kid": "rsa"}),
    "jku of a foreign key": lambda p: by_foreign_key(p, jku="https://evil.example/jwks.json"),
    "x5u of a foreign key": lambda p: by_foreign_key(p, x5u="https://evil.example/cert.pem"),
    "jwk of a foreign key": lambda p: by_foreign_key(p, jwk=rsa_jwk(p.foreign_key), kid=None),
    "jwk of a foreign key under a known kid": lambda p: by_foreign_key(
        p, jwk=rsa_jwk(p.foreign_key, kid="rsa")
    ),
    "x5c of a foreign key": lambda p: by_foreign_key(
        p, x5c=[base64.b64encode(b"certificate").decode()]
    ),
    "crit unknown": lambda p: p.token(crit=["exploit"], exploit=True),
    "crit exp": lambda p: p.token(crit=["exp"], exp=now(300)),
    "crit empty": lambda p: p.token(crit=[]),
    "crit not a list": lambda p: p.token(crit="exp"),
    "b64 false and crit": lambda p: unencoded(p, b64=False, crit=["b64"]),
    "b64 false without crit": lambda p: unencoded(p, b64=False),
    "duplicate alg, the last one none": lambda p: p.raw_token(
        b'{"alg":"RS256","typ":"at+jwt","kid":"rsa","alg":"none"}',
        json.dumps(good_claims()).encode(),
    ),
    **{
        f"typ {typ!r}": lambda p, typ=typ: p.token(typ=typ)
        for typ in ("JWT", "", "at+jwt2", "logout+jwt", "application/jwt", "at jwt", 1, ["at+jwt"])
    },
    "typ missing": lambda p: p.token(typ=None),
    "id token": lambda p: p.token(good_claims(aud="portal", nonce="n", scope=...), typ="JWT"),
    "id token for docvault": lambda p: p.token(good_claims(nonce="n", at_hash="h"), typ="JWT"),
    "key for encryption": lambda p: p.token(algorithm="ES256", kid="for-encryption"),
    "key for derivation": lambda p: p.token(algorithm="ES256", kid="for-derivation"),
    "ES256 on P-384": lambda p: p.token(
        algorithm="ES256", kid="p384", sign=lambda d: ecdsa(p.p384, d)
    ),
    "ES256 on secp256k1": lambda p: p.token(
        algorithm="ES256", kid="k256", sign=lambda d: ecdsa(p.k256, d)
    ),
    "a foreign key's signature": by_foreign_key,
    "a foreign key's signature without kid": lambda p: by_foreign_key(p, kid=None),
}

SHAPES: dict[str, Make] = {
    "one part": lambda _: "token",
    "two parts": lambda p: p.token().rpartition(".")[0],
    "four parts": lambda p: p.token() + ".x",
    "five parts": lambda p: p.token() + ".x.y",
    "dots": lambda _: "..",
    "no header": lambda p: swap_part(p.token(), 0, ""),
    "no payload": lambda p: swap_part(p.token(), 1, ""),
    "no signature": lambda p: swap_part(p.token(), 2, ""),
    "header is not base64": lambda p: swap_part(p.token(), 0, "!!!!"),
    "payload is not base64": lambda p: swap_part(p.token(), 1, "%%%%"),
    "signature is not base64": lambda p: swap_part(p.token(), 2, "@@@@"),
    "header of a wrong length": lambda p: swap_part(p.token(), 0, "abcde"),
    "header is not JSON": lambda p: p.raw_token(b"alg: none", b"{}"),
    "header is a list": lambda p: p.raw_token(b'["RS256"]', b"{}"),
    "header is not UTF-8": lambda p: p.raw_token(b'{"alg":"RS256\xff"}', b"{}"),
    "header is deeply nested": lambda p: p.raw_token(b'{"a":' * 1000 + b"1" + b"}" * 1000, b"{}"),
    "payload is not JSON": lambda p: p.raw_token(b'{"alg":"RS256","typ":"at+jwt"}', b"sub=staff"),
    "payload is a list": lambda p: p.token([good_claims()]),
    "payload is a string": lambda p: p.token("staff-1"),
    "payload is not UTF-8": lambda p: p.raw_token(
        b'{"alg":"RS256","typ":"at+jwt"}', b'{"sub":"\xff"}'
    ),
    "payload is deeply nested": lambda p: p.raw_token(
        b'{"alg":"RS256","typ":"at+jwt"}', b"[" * 3000
    ),
    "payload replaced": lambda p: swap_part(
        p.token(), 1, b64(json.dumps(good_claims(sub="root")).encode())
    ),
    "one bit of the signature": lambda p: flip_signature(p.token()),
    "signature cut": lambda p: p.token()[:-10],
    "9 KiB": lambda p: p.token(good_claims(filler="x" * 6600)),
    "blank inside": lambda p: p.token().replace(".", ". ", 1),
    "not ASCII": lambda p: swap_part(p.token(), 2, "é"),
}

CLAIMS: dict[str, dict[str, Any] | Callable[[], dict[str, Any]]] = {
    **{
        f"aud {aud!r}": {"aud": aud}
        for aud in (
            ...,
            None,
            "",
            "portal",
            "docvault2",
            "docvaul",
            "DOCVAULT",
            "docvault portal",
            [],
            ["portal"],
            [["docvault"]],
            {"docvault": True},
            7,
        )
    },
    **{
        f"iss {iss!r}": {"iss": iss}
        for iss in (
            ...,
            None,
            "",
            ISSUER + "/",
            ISSUER + ".evil.example",
            ISSUER[:-1],
            ISSUER.upper(),
            "http://idp.example",
            "docvault",
            [ISSUER],
        )
    },
    "exp missing": {"exp": ...},
    "exp null": {"exp": None},
    "exp a string": lambda: {"exp": str(now(300))},
    "exp 10^20": {"exp": 10**20},
    "exp negative": {"exp": -1},
    "exp true": {"exp": True},
    "exp infinite": {"exp": float("inf")},
    "exp not a number": {"exp": float("nan")},
    "exp a list": {"exp": [1]},
    "exp passed": lambda: {"iat": now(-400), "exp": now(-100)},
    "iat missing": {"iat": ...},
    "iat null": {"iat": None},
    "iat a string": lambda: {"iat": str(now())},
    "iat true": {"iat": True},
    "iat negative": {"iat": -1},
    "iat to come": lambda: {"iat": now(120), "exp": now(400)},
    "a life of more than a day": lambda: {"iat": now(), "exp": now(24 * 3600 + 60)},
    "old, with a life of a month": lambda: {"iat": now(-29 * 24 * 3600), "exp": now(3600)},
    "nbf to come": lambda: {"nbf": now(120)},
    "nbf a string": lambda: {"nbf": str(now())},
    "nbf true": {"nbf": True},
    "nbf null": {"nbf": None},
    "sub missing": {"sub": ...},
    "sub null": {"sub": None},
    "sub empty": {"sub": ""},
    "sub a number": {"sub": 1},
    "sub a list": {"sub": ["staff-1"]},
    "sub with NUL": {"sub": "staff\x00"},
    "sub with a line break": {"sub": "staff\n1"},
    "sub too long": {"sub": "s" * 256},
    "both roles": {"scope": f"{ADMIN} {CUSTOMER}"},
    "both roles as a list": {"scope": [ADMIN, CUSTOMER]},
    "both roles in scp": {"scope": ..., "scp": [ADMIN, CUSTOMER]},
    "a role in scope, the other in scp": {"scope": ADMIN, "scp": [CUSTOMER]},
}


def sign_int(p: Provider, encoded: bytes) -> bytes:
    """The raw RSA operation, for encodings that no library produces."""
    numbers = p.rsa.private_numbers()
    public = numbers.public_numbers
    return pow(int.from_bytes(encoded, "big"), numbers.d, public.n).to_bytes(256, "big")


def pkcs1(
    data: bytes,
    info: str = "3031300d060960864801650304020105000420",
    *,
    kind: int = 1,
    filler: int | None = None,
    digest: str = "sha256",
    trailing: bytes = b"",
) -> bytes:
    """Return an EMSA-PKCS1-v1_5 block (RFC 8017, section 9.2), valid by default."""
    tail = b"\0" + bytes.fromhex(info) + hashlib.new(digest, data).digest() + trailing
    padded = b"\xff" * (256 - 2 - len(tail) if filler is None else filler)
    return (bytes([0, kind]) + padded + tail).ljust(256, b"\0")


def shifted(p: Provider, data: bytes) -> bytes:
    """An Ed25519 signature whose second half is beyond the order of the group."""
    signature = p.ed.sign(data)
    second = int.from_bytes(signature[32:], "little") + ED25519_ORDER
    return signature[:32] + second.to_bytes(32, "little")


def with_last_bit(token: str) -> str:
    """Return a non-canonical encoding of the same bytes: unused bits of the last letter are set."""
    letters = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    return token[:-1] + letters[letters.index(token[-1]) ^ 1]


def as_json(token: str) -> str:
    """The flattened JSON serialization (RFC 7515, section 7.2.2)."""
    header, payload, signature = token.split(".")
    return json.dumps({"protected": header, "payload": payload, "signature": signature})


P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
ECDSA: dict[str, Callable[[bytes], bytes]] = {
    "r zero": lambda s: bytes(32) + s[32:],
    "s zero": lambda s: s[:32] + bytes(32),
    "r the order": lambda s: P256_ORDER.to_bytes(32, "big") + s[32:],
    "s the order": lambda s: s[:32] + P256_ORDER.to_bytes(32, "big"),
    "one and one": lambda _: (1).to_bytes(32, "big") * 2,
    "all ones": lambda _: b"\xff" * 64,
    "r and s swapped": lambda s: s[32:] + s[:32],
    "a byte short": lambda s: s[:-1],
    "a byte more": lambda s: s + b"\0",
    "a zero before": lambda s: b"\0" + s,
    "zeros before both": lambda s: b"\0" + s[:32] + b"\0" + s[32:],
    "twice": lambda s: s + s,
    "half": lambda s: s[:32],
}
RSA: dict[str, Callable[[Provider, bytes], bytes]] = {
    "of SHA-1": lambda p, d: p.rsa.sign(d, padding.PKCS1v15(), hashes.SHA1()),
    "of SHA-512": lambda p, d: p.rsa.sign(d, padding.PKCS1v15(), hashes.SHA512()),
    "without the NULL": lambda p, d: sign_int(p, pkcs1(d, "302f300b06096086480165030402010420")),
    "SHA-1 declared as SHA-256": lambda p, d: sign_int(p, pkcs1(d, digest="sha1")),
    "little padding, trailing garbage": lambda p, d: sign_int(
        p, pkcs1(d, filler=8, trailing=b"\x01" * 150)
    ),
    "no filling": lambda p, d: sign_int(p, pkcs1(d, filler=0)),
    "block type 2": lambda p, d: sign_int(p, pkcs1(d, kind=2)),
    "block type 0": lambda p, d: sign_int(p, pkcs1(d, kind=0)),
    "a byte after the digest": lambda p, d: sign_int(p, pkcs1(d, trailing=b"\1")),
    "bare digest": lambda p, d: sign_int(p, hashlib.sha256(d).digest().rjust(256, b"\0")),
    "zero": lambda *_: bytes(256),
    "one": lambda *_: b"\1".rjust(256, b"\0"),
    "a zero before": lambda p, d: b"\0" + p.sign("RS256", d),
    "a byte short": lambda p, d: p.sign("RS256", d)[:-1],
    "the modulus added": lambda p, d: (
        int.from_bytes(p.sign("RS256", d), "big") + p.rsa.public_key().public_numbers().n
    ).to_bytes(257, "big"),
}
PSS: dict[str, Callable[[Provider, bytes], bytes]] = {
    **{
        f"salt of {length}": lambda p, d, length=length: p.rsa.sign(
            d, padding.PSS(padding.MGF1(SHA256), length), SHA256
        )
        for length in (0, 20, 31, 33)
    },
    "mask of SHA-1": lambda p, d: p.rsa.sign(
        d, padding.PSS(padding.MGF1(hashes.SHA1()), 32), SHA256
    ),
    "of SHA-384": lambda p, d: p.rsa.sign(d, pss(hashes.SHA384()), hashes.SHA384()),
}
EDDSA: dict[str, Callable[[Provider, bytes], bytes]] = {
    "s beyond the order": shifted,
    "a byte short": lambda p, d: p.ed.sign(d)[:-1],
    "a byte more": lambda p, d: p.ed.sign(d) + b"\0",
    "the neutral point": lambda *_: b"\1" + bytes(63),
    "of the digest": lambda p, d: p.ed.sign(hashlib.sha512(d).digest()),
}
SIGNATURES: dict[str, Make] = {
    **{
        f"ES256: {name}": lambda p, change=change: p.token(
            algorithm="ES256", sign=lambda d: change(p.sign("ES256", d))
        )
        for name, change in ECDSA.items()
    },
    **{
        f"{algorithm}: {name}": lambda p, algorithm=algorithm, sign=sign: p.token(
            algorithm=algorithm, sign=lambda d: sign(p, d)
        )
        for algorithm, table in (("RS256", RSA), ("PS256", PSS), ("EdDSA", EDDSA))
        for name, sign in table.items()
    },
    "signature with =": lambda p: p.token() + "==",
    "header with =": lambda p: p.token().replace(".", "=.", 1),
    "signature with a line break": lambda p: p.token()[:-4] + "\n" + p.token()[-4:],
    "the other alphabet": lambda p: p.token().replace("-", "+").replace("_", "/") + "+/",
    "unused bits set": lambda p: with_last_bit(p.token(algorithm="RS256")),
    "JSON serialization": lambda p: as_json(p.token()),
    "payload of another token": lambda p: swap_part(
        p.token(), 1, p.token(good_claims(sub="staff-2")).split(".")[1]
    ),
    "header of another token": lambda p: swap_part(p.token(), 0, p.token(kid=None).split(".")[0]),
}

UNKNOWN_HEADER: dict[str, Any] = {"pi.atm": "1", "nonce": "n"}
GOOD: dict[str, Make] = {
    "RS256": lambda p: p.token(),
    "PS256": lambda p: p.token(algorithm="PS256"),
    "ES256": lambda p: p.token(algorithm="ES256"),
    "EdDSA": lambda p: p.token(algorithm="EdDSA"),
    "Ed25519 (RFC 9864)": lambda p: p.token(algorithm="Ed25519"),
    "without kid": lambda p: p.token(kid=None),
    "scope among others": lambda p: p.token(good_claims(scope=f"openid {ADMIN} profile")),
    "scp list": lambda p: p.token(good_claims(scope=..., scp=["openid", ADMIN])),
    "aud list": lambda p: p.token(good_claims(aud=["portal", "docvault"])),
    "typ in full": lambda p: p.token(typ="application/at+jwt"),
    "typ in capitals": lambda p: p.token(typ="AT+JWT"),
    "a life of a day": lambda p: p.token(good_claims(iat=now(), exp=now() + 24 * 3600)),
    "expired within the leeway": lambda p: p.token(good_claims(iat=now(-300), exp=now(-30))),
    "clock ahead within the leeway": lambda p: p.token(good_claims(iat=now(30), nbf=now(30))),
    "jku, x5u and jwk with a valid signature": lambda p: p.token(
        jku="https://evil.example", x5u="https://evil.example", jwk=rsa_jwk(p.foreign_key)
    ),
    "x5c with a valid signature": lambda p: p.token(x5c=[base64.b64encode(b"c" * 900).decode()]),
    "a header that is not understood": lambda p: p.token(**UNKNOWN_HEADER),
    "dates with fractions": lambda p: p.token(
        good_claims(iat=now() - 0.5, exp=now() + 300.25, nbf=now() - 0.125)
    ),
    "unknown claims": lambda p: p.token(good_claims(groups=["a"], amr=["otp"])),
}


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider()


@pytest.fixture(scope="module")
async def trusting(
    migrated_url: str, provider: Provider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a service that trusts the provider's keys, shared because nothing is written."""
    folder = tmp_path_factory.mktemp("tokens") / "data"
    settings = Settings(data_dir=folder, failed_credentials_per_minute=0)
    async with open_resources(settings, migrated_url) as resources:
        app = create_app()
        tokens = make_verifier(settings, ISSUER, StaticKeys(provider.jwks))
        app.state.resources = dataclasses.replace(resources, tokens=tokens)
        transport = ProblemCheckingTransport(httpx.ASGITransport(app, raise_app_exceptions=False))
        async with httpx.AsyncClient(transport=transport, base_url="http://docvault") as client:
            yield client


@pytest.fixture
def with_provider(
    app: FastAPI, http: httpx.AsyncClient, resources: Resources, provider: Provider
) -> httpx.AsyncClient:
    """A client of a service that trusts the provider's keys."""
    tokens = make_verifier(resources.settings, ISSUER, StaticKeys(provider.jwks))
    app.state.resources = dataclasses.replace(resources, tokens=tokens)
    return http


def bearer(token: str) -> list[tuple[bytes, bytes]]:
    return [(b"Authorization", b"Bearer " + token.encode())]


async def ask(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.get(STAFF_ENDPOINT, headers=bearer(token))


def assert_refused(response: httpx.Response) -> None:
    assert response.status_code == 401, response.text
    assert response.headers["www-authenticate"].startswith("Bearer ")
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["code"] in {"invalid-token", "token-expired", "authentication-required"}


class TestValidTokens:
    """Any admin endpoint."""

    @pytest.mark.parametrize("name", GOOD)
    async def test_valid_token_is_accepted(
        self, trusting: httpx.AsyncClient, provider: Provider, name: str
    ) -> None:
        response = await ask(trusting, GOOD[name](provider))
        assert response.status_code == 200, response.text

    async def test_scheme_is_case_insensitive(
        self, trusting: httpx.AsyncClient, provider: Provider
    ) -> None:
        headers = {"Authorization": f"bearer {provider.token()}"}
        assert (await trusting.get(STAFF_ENDPOINT, headers=headers)).status_code == 200


class TestInvalidTokens:
    """Any admin endpoint: 401 with a challenge, never another response."""

    @pytest.mark.parametrize("name", HEADERS)
    async def test_bad_header_or_key_is_rejected(
        self, trusting: httpx.AsyncClient, provider: Provider, name: str
    ) -> None:
        assert_refused(await ask(trusting, HEADERS[name](provider)))

    @pytest.mark.parametrize("name", SHAPES)
    async def test_malformed_token_is_rejected(
        self, trusting: httpx.AsyncClient, provider: Provider, name: str
    ) -> None:
        assert_refused(await ask(trusting, SHAPES[name](provider)))

    @pytest.mark.parametrize("name", SIGNATURES)
    async def test_bad_signature_or_encoding_is_rejected(
        self, trusting: httpx.AsyncClient, provider: Provider, name: str
    ) -> None:
        """The kinds of Wycheproof vectors for JWS, which no package index carries."""
        token = SIGNATURES[name](provider).replace("\n", " ")
        assert_refused(await ask(trusting, token))

    @pytest.mark.parametrize("name", CLAIMS)
    async def test_bad_claim_is_rejected(
        self, trusting: httpx.AsyncClient, provider: Provider, name: str
    ) -> None:
        changes = CLAIMS[name]
        claims = good_claims(**(changes() if callable(changes) else changes))
        assert_refused(await ask(trusting, provider.token(claims)))

    async def test_expired_token_has_own_code(
        self, trusting: httpx.AsyncClient, provider: Provider
    ) -> None:
        token = provider.token(good_claims(iat=now(-400), exp=now(-100)))
        assert (await ask(trusting, token)).json()["code"] == "token-expired"

    async def test_expired_token_with_bad_signature_is_invalid(
        self, trusting: httpx.AsyncClient, provider: Provider
    ) -> None:
        token = flip_signature(provider.token(good_claims(iat=now(-400), exp=now(-100))))
        assert (await ask(trusting, token)).json()["code"] == "invalid-token"

    async def test_response_does_not_repeat_token(
        self, trusting: httpx.AsyncClient, provider: Provider
    ) -> None:
        token = provider.token(good_claims(iss="https://canary.example"), kid="canary")
        response = await ask(trusting, token)
        assert "canary" not in response.text
        assert "canary" not in str(response.headers)


class TestReplacedKeys:
    """A token verified before its key was withdrawn."""

    @pytest.mark.parametrize("kid", ["rsa", None])
    async def test_token_of_replaced_key_is_rejected(
        self,
        provider: Provider,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        kid: str | None,
    ) -> None:
        clock, server = Clock(), KeyServer()
        monkeypatch.setattr(jwks, "time", clock)
        token = provider.token(kid=kid)
        async with server.serving() as url, httpx.AsyncClient(trust_env=False) as client:
            settings = Settings(data_dir=tmp_path)
            verifier = make_verifier(settings, ISSUER, jwks.RemoteKeys(url, client))
            server.serve({"keys": [rsa_jwk(provider.rsa, kid="rsa")]})
            for _ in range(2):
                assert (await verifier.verify(token)).subject == "staff-1"
            server.serve({"keys": [rsa_jwk(provider.foreign_key, kid="rsa")]})
            clock.now += jwks.FRESH_SECONDS + 1
            with pytest.raises(InvalidToken):
                await verifier.verify(token)
            by_new_key = by_foreign_key(provider, kid=kid)
            assert (await verifier.verify(by_new_key)).subject == "staff-1"


class TestShortKeys:
    """A key of the provider that is too short for its algorithm (D11)."""

    async def test_rsa_1024_signature_is_rejected(
        self, app: FastAPI, with_provider: httpx.AsyncClient, provider: Provider
    ) -> None:
        short = rsa.generate_private_key(65537, 1024)
        keys = StaticKeys({"keys": [rsa_jwk(short, kid="short")]})
        resources = app.state.resources
        tokens = make_verifier(resources.settings, ISSUER, keys)
        app.state.resources = dataclasses.replace(resources, tokens=tokens)
        token = provider.token(
            kid="short", sign=lambda data: short.sign(data, padding.PKCS1v15(), SHA256)
        )
        assert_refused(await ask(with_provider, token))


class TestAlgorithms:
    """DOCVAULT_JWT_ALGORITHMS."""

    def test_symmetric_algorithm_cannot_be_configured(self) -> None:
        with pytest.raises(ValueError, match="jwt_algorithms"):
            Settings(jwt_algorithms=("RS256", "HS256"))

    def test_algorithm_none_cannot_be_configured(self) -> None:
        with pytest.raises(ValueError, match="jwt_algorithms"):
            Settings(jwt_algorithms=("none",))

    async def test_unconfigured_algorithm_is_rejected(
        self,
        app: FastAPI,
        with_provider: httpx.AsyncClient,
        resources: Resources,
        provider: Provider,
    ) -> None:
        only = resources.settings.model_copy(update={"jwt_algorithms": ("ES256",)})
        tokens = make_verifier(only, ISSUER, StaticKeys(provider.jwks))
        app.state.resources = dataclasses.replace(resources, tokens=tokens)
        assert (await ask(with_provider, provider.token(algorithm="ES256"))).status_code == 200
        assert_refused(await ask(with_provider, provider.token(algorithm="RS256")))


class TestRoles:
    """Roles come only from the scope."""

    @pytest.mark.parametrize(
        "scope",
        ["", "openid", "docvault:administrator", f"x{ADMIN}", ADMIN.upper(), f"{ADMIN},openid"],
    )
    async def test_token_without_admin_scope_is_forbidden(
        self, with_provider: httpx.AsyncClient, provider: Provider, scope: str
    ) -> None:
        response = await ask(with_provider, provider.token(good_claims(scope=scope)))
        assert (response.status_code, response.json()["code"]) == (403, "insufficient-scope")

    @pytest.mark.parametrize("claim", ["role", "roles", "groups", "permissions"])
    async def test_other_claims_grant_no_role(
        self, with_provider: httpx.AsyncClient, provider: Provider, claim: str
    ) -> None:
        claims = good_claims(scope="openid", **{claim: [ADMIN, "admin"]})
        assert (await ask(with_provider, provider.token(claims))).status_code == 403

    async def test_customer_token_is_not_a_staff_token(
        self, with_provider: httpx.AsyncClient, provider: Provider
    ) -> None:
        response = await ask(with_provider, provider.token(good_claims(scope=CUSTOMER)))
        assert response.status_code == 403


@pytest.mark.req("A-29")
class TestCustomerClaim:
    """DOCVAULT_JWT_CUSTOMER_CLAIM."""

    @pytest.fixture(autouse=True)
    async def configured(
        self,
        app: FastAPI,
        admin: httpx.AsyncClient,
        resources: Resources,
        provider: Provider,
        with_provider: httpx.AsyncClient,
    ) -> None:
        del with_provider  # it would otherwise undo what follows
        app.state.resources = resources
        await make_customer(admin, "c-1")
        settings = resources.settings.model_copy(update={"jwt_customer_claim": "customer_no"})
        tokens = make_verifier(settings, ISSUER, StaticKeys(provider.jwks))
        app.state.resources = dataclasses.replace(resources, tokens=tokens)

    async def gate(
        self, client: httpx.AsyncClient, provider: Provider, **claims: Any
    ) -> httpx.Response:
        token = provider.token(good_claims(scope=CUSTOMER, sub="login-7", **claims))
        return await client.get("/v1/customer/gate", headers=bearer(token))

    async def test_configured_claim_names_customer(
        self, with_provider: httpx.AsyncClient, provider: Provider
    ) -> None:
        response = await self.gate(with_provider, provider, customer_no="c-1")
        assert response.status_code == 200, response.text

    @pytest.mark.parametrize("value", [..., None, "", 1, ["c-1"], {"id": "c-1"}, True, "c-1\x00"])
    async def test_non_string_customer_claim_is_rejected(
        self, with_provider: httpx.AsyncClient, provider: Provider, value: object
    ) -> None:
        assert_refused(await self.gate(with_provider, provider, customer_no=value))


@pytest.mark.guarantee(
    "T12",
    promise="A token is accepted only if it conforms to RFC 8725 and RFC 9068.",
    tried="Every attack known to us is sent to an endpoint: algorithms, keys and headers confused "
    "or embedded in the token, forms and encodings, signatures modified as in the Wycheproof "
    "vectors for each algorithm, claims missing, wrong and of the wrong type. Valid tokens of "
    "each algorithm and form are sent as well.",
    not_shown="Wycheproof's own vectors for JWS, which no package index carries.",
)
async def test_all_attacks_are_rejected_and_valid_tokens_accepted(
    trusting: httpx.AsyncClient, provider: Provider, figures: dict[str, Figure]
) -> None:
    """Counts the attacks, and detects one that works only after others."""
    attacks = [make(provider) for table in (HEADERS, SHAPES, SIGNATURES) for make in table.values()]
    for changes in CLAIMS.values():
        claims = good_claims(**(changes() if callable(changes) else changes))
        attacks.append(provider.token(claims))
    good = [make(provider) for make in GOOD.values()]
    assert len(attacks) >= 200
    for token in attacks + attacks[::-1]:
        assert_refused(await ask(trusting, token.replace("\n", " ")))
        assert (await ask(trusting, good[0])).status_code == 200
    for token in good + good:
        assert (await ask(trusting, token)).status_code == 200
    figures["attacks"] = figures["of those, rejected with 401"] = len(attacks)
    figures["valid tokens"] = figures["of those, accepted"] = len(good)


def test_sample_key_verifies_independently(provider: Provider) -> None:
    """The provider signs according to RFC 7515; otherwise the attacks would prove nothing."""
    head, _, signature = provider.token().rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    provider.rsa.public_key().verify(raw, head.encode(), padding.PKCS1v15(), SHA256)
    assert sign_int(provider, pkcs1(head.encode())) == raw
    assert len(raw) == 256
