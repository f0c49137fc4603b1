"""Word, Excel and PowerPoint 97-2003 documents, as far as docvault reads them: with passwords."""

import hashlib
import struct
from collections.abc import Mapping

from cryptography.hazmat.decrepit.ciphers.algorithms import ARC4
from cryptography.hazmat.primitives.ciphers import Cipher
from tests.factories import containers

FREE, END = containers.FREE, containers.END_OF_CHAIN
# Smaller streams are in sectors of 64 bytes within the stream of the root.
_SMALL = 4096
_SALT, _VERIFIER = bytes(range(16)), bytes(range(16, 32))


def compound_file(streams: Mapping[str, bytes]) -> bytes:
    """A compound file with these streams, of at most 128 sectors."""
    small, places = b"", {}
    for name, data in streams.items():
        if len(data) < _SMALL:
            places[name] = len(small) // 64
            small += data + bytes(-len(data) % 64)
    large = {name: data for name, data in streams.items() if len(data) >= _SMALL}
    chains, sectors = [_directory_sectors(len(streams))], b""
    for name, data in [("", small), *large.items()]:
        places[name] = 1 + sum(chains)
        chains.append(-(-len(data) // 512))
        sectors += data + bytes(-len(data) % 512)
    entries = [containers.ole_entry("Root Entry", 5, child=1, first=places[""], size=len(small))]
    for number, (name, data) in enumerate(streams.items(), 1):
        right = number + 1 if number < len(streams) else FREE
        entries.append(
            containers.ole_entry(name, 2, right=right, first=places[name], size=len(data))
        )
    directory = b"".join(entries)
    table = [0xFFFF_FFFD]
    for length in chains:
        table += [*range(len(table) + 1, len(table) + length), END] if length else []
    table += [FREE] * (128 - len(table))
    return (
        containers.ole_header(9)
        + struct.pack("<128L", *table)
        + directory.ljust(chains[0] * 512, b"\0")
        + sectors
    )


def _directory_sectors(streams: int) -> int:
    return -(-(streams + 1) // 4)


def doc(*, encrypted: bool) -> bytes:
    """A Word document."""
    base = struct.pack("<5HH", 0xA5EC, 0xC1, 0, 0x409, 0, 0x1200 | 0x0100 * encrypted)
    return compound_file({"1Table": b"t", "WordDocument": base.ljust(_SMALL, b"\0")})


def ppt(*, encrypted: bool) -> bytes:
    """A PowerPoint presentation."""
    token = 0xF3D1C4DF if encrypted else 0xE391C05F
    atom = struct.pack("<HHLLLL", 0, 0xFF6, 36, 20, token, 8).ljust(44, b"\0")
    return compound_file(
        {"PowerPoint Document": bytes(_SMALL), "Pictures": bytes(900), "Current User": atom}
    )


def xls(file_pass: bytes | None = None, *, stream: str = "Workbook", padding: int = 0) -> bytes:
    """An Excel workbook, possibly with the record of a password."""
    records = record(0x0809, bytes(16)) + record(0x0086, b"")
    if file_pass is not None:
        records += record(0x002F, file_pass)
    records += record(0x00E1, bytes(2)) + record(0x000A, b"")
    return compound_file({"a": bytes(70), stream: records.ljust(padding, b"\0")})


def record(kind: int, data: bytes) -> bytes:
    """A record of a workbook."""
    return struct.pack("<HH", kind, len(data)) + data


def xor(verifier: int, *, numbered: bool = True) -> bytes:
    """The password of a workbook: obfuscation, which had no number before Excel 97."""
    return struct.pack("<HHH", 0, 0x1234, verifier)[0 if numbered else 2 :]


def rc4(password: str) -> bytes:
    """The password of a workbook of Excel 97 and 2000."""
    start = hashlib.md5(password.encode("utf-16-le")).digest()[:5]
    middle = hashlib.md5((start + _SALT) * 16).digest()[:5]
    key = hashlib.md5(middle + struct.pack("<L", 0)).digest()
    encrypted = _encrypt(key, _VERIFIER + hashlib.md5(_VERIFIER).digest())
    return struct.pack("<HHH", 1, 1, 1) + _SALT + encrypted


def crypto_api(password: str, key_bits: int) -> bytes:
    """The password of a workbook of Excel 2002 and 2003."""
    start = hashlib.sha1(_SALT + password.encode("utf-16-le")).digest()
    key = hashlib.sha1(start + struct.pack("<L", 0)).digest()[: key_bits // 8]
    if key_bits == 40:
        key += bytes(11)
    encrypted = _encrypt(key, _VERIFIER + hashlib.sha1(_VERIFIER).digest())
    provider = "Microsoft Base Cryptographic Provider\0".encode("utf-16-le")
    header = struct.pack("<8L", 4, 0, 0x6801, 0x8004, key_bits, 1, 0, 0) + provider
    return (
        struct.pack("<HHHLL", 1, 4, 2, 4, len(header))
        + header
        + struct.pack("<L", 16)
        + _SALT
        + encrypted[:16]
        + struct.pack("<L", 20)
        + encrypted[16:]
    )


def _encrypt(key: bytes, data: bytes) -> bytes:
    return Cipher(ARC4(key), None).encryptor().update(data)
