"""A private certificate authority, and a server's certificate."""

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class PrivateCa:
    """The file of the authority, and the TLS context of a server that it has certified."""

    ca_file: Path
    server: ssl.SSLContext


def make_private_ca(folder: Path, host: str = _HOST) -> PrivateCa:
    """Create an authority and a certificate for a host in a folder."""
    key, ca_name = ec.generate_private_key(ec.SECP256R1()), _name("Private CA")
    ca = _begin(ca_name, ca_name, key).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    server_key = ec.generate_private_key(ec.SECP256R1())
    name = x509.IPAddress(ip_address(host)) if host == _HOST else x509.DNSName(host)
    server = _begin(_name(host), ca_name, server_key).add_extension(
        x509.SubjectAlternativeName([name]), critical=False
    )
    ca_file, chain = folder / "ca.pem", folder / "server.pem"
    ca_file.write_bytes(_pem(ca.sign(key, hashes.SHA256())))
    chain.write_bytes(_pem(server.sign(key, hashes.SHA256())) + _private_pem(server_key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return PrivateCa(ca_file, context)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _begin(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
