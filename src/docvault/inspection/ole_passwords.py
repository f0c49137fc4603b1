"""Passwords of Word, Excel and PowerPoint 97-2003 documents ([MS-DOC], [MS-XLS], [MS-PPT]).

A mark near the beginning of a stream says that the document is encrypted. Excel encrypts a workbook
whose structure is protected, too, with a password that every program knows; that one is tried.
"""

import hashlib

from docvault.domain.media_types import DOC, PPT, XLS
from docvault.inspection.compound_file import CompoundFile

# The records before the one with the password, and that one.
_BEGINNING_BYTES = 1024

# Of FibBase: flags at offset 10, fEncrypted among them ([MS-DOC], 2.5.1).
_DOC_FLAGS_OFFSET = 10
_DOC_ENCRYPTED = 0x0100
# Of CurrentUserAtom: headerToken at offset 12 ([MS-PPT], 2.3.2).
_PPT_TOKEN_OFFSET = 12
_PPT_ENCRYPTED = 0xF3D1_C4DF

# [MS-XLS], 2.1.7.20.3: FilePass may follow after these two.
_BEFORE_FILE_PASS = frozenset({0x0809, 0x0086})
_FILE_PASS = 0x002F
_MAX_RECORDS = 4
_DEFAULT_PASSWORD = "VelvetSweatshop"  # noqa: S105 - Excel's own ([MS-OFFCRYPTO], 2.1.5)
_XOR_BYTES = 4
_XOR, _RC4 = 0, 1
_CRYPTO_API = (2, 3, 4)
_VERIFIER_BYTES = 16


def needs_password(document: CompoundFile, media_type: str) -> bool:
    """Return whether a document needs a password; raises `CorruptContent`."""
    streams = document.streams()

    def read(*names: str) -> bytes:
        found = [streams[name] for name in names if name in streams]
        return document.read_beginning(found[0], _BEGINNING_BYTES) if found else b""

    if media_type == DOC:
        return bool(_number(read("worddocument"), _DOC_FLAGS_OFFSET, 2) & _DOC_ENCRYPTED)
    if media_type == XLS:
        return _is_workbook_locked(read("workbook", "book"))
    if media_type == PPT:
        return _number(read("current user"), _PPT_TOKEN_OFFSET, 4) == _PPT_ENCRYPTED
    return False


def _number(data: bytes, offset: int, length: int) -> int:
    return int.from_bytes(data[offset : offset + length], "little")


def _is_workbook_locked(stream: bytes) -> bool:
    position = 0
    for _ in range(_MAX_RECORDS):
        kind, length = _number(stream, position, 2), _number(stream, position + 2, 2)
        position += 4
        if kind == _FILE_PASS:
            return not _opens_with_default(stream[position : position + length])
        if kind not in _BEFORE_FILE_PASS:
            break
        position += length
    return False


def _opens_with_default(file_pass: bytes) -> bool:
    """Return whether the default password opens the workbook ([MS-XLS], 2.4.117)."""
    # Before Excel 97 there was a single method, without a number.
    if len(file_pass) == _XOR_BYTES:
        return _number(file_pass, 2, 2) == _xor_verifier(_DEFAULT_PASSWORD)
    kind, version = _number(file_pass, 0, 2), _number(file_pass, 2, 2)
    if kind == _XOR:
        return _number(file_pass, 4, 2) == _xor_verifier(_DEFAULT_PASSWORD)
    if kind == _RC4 and version == 1:
        return _opens_rc4(file_pass[6:])
    return kind == _RC4 and version in _CRYPTO_API and _opens_crypto_api(file_pass[6:])


def _xor_verifier(password: str) -> int:
    """[MS-OFFCRYPTO], 2.3.7.1."""
    verifier = 0
    for byte in reversed(bytes([len(password)]) + password.encode("ascii")):
        verifier = ((verifier >> 14) & 1 | (verifier << 1) & 0x7FFF) ^ byte
    return verifier ^ 0xCE4B


def _opens_rc4(info: bytes) -> bool:
    """[MS-OFFCRYPTO], 2.3.6.2 and 2.3.6.4."""
    salt, verifier = info[:16], info[16:48]
    password = _md5(_DEFAULT_PASSWORD.encode("utf-16-le"))[:5]
    key = _md5(_md5((password + salt) * 16)[:5] + bytes(4))
    plain = _rc4(key, verifier)
    return _md5(plain[:_VERIFIER_BYTES]) == plain[_VERIFIER_BYTES:]


def _opens_crypto_api(info: bytes) -> bool:
    """[MS-OFFCRYPTO], 2.3.5.1, 2.3.5.2 and 2.3.5.6."""
    header_bytes = _number(info, 4, 4)
    key_bits = _number(info, 8 + 16, 4) or 40
    verifier = info[8 + header_bytes :]
    salt, encrypted = verifier[4:20], verifier[20:36] + verifier[40:60]
    password = _sha1(salt + _DEFAULT_PASSWORD.encode("utf-16-le"))
    key = _sha1(password + bytes(4))[: key_bits // 8]
    # A key of 40 bits is filled up to 128.
    plain = _rc4(key.ljust(16, b"\0") if key_bits == 40 else key, encrypted)  # noqa: PLR2004
    return _sha1(plain[:_VERIFIER_BYTES]) == plain[_VERIFIER_BYTES:]


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()


def _rc4(key: bytes, data: bytes) -> bytes:
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    result = bytearray()
    i = j = 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        result.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(result)
