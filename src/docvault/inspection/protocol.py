"""The protocol between the server and an inspector.

A request is one line of JSON, with the file's descriptor unless the file is read in blocks. The
inspector replies with one line: an outcome, or the number of a block that it needs. The server
sends `BLOCK_FOLLOWS` and the block, or `NO_BLOCK`.

A hostile file may control the inspector. So replies are short fields separated by tabs, which need
no parser, and a line that a correct inspector would not send is `ProtocolViolation`.
"""

import json
import re
from dataclasses import dataclass

from docvault.domain.file_extensions import contradicts, extension_of
from docvault.domain.media_types import KNOWN_MEDIA_TYPES
from docvault.inspection.ranged_file import BLOCK_BYTES
from docvault.inspection.result import Content, CorruptContent, ExtensionMismatch, UnknownContent

READY = b"ready\n"
BLOCK_FOLLOWS = b"+"
NO_BLOCK = b"-"
MAX_REQUEST_BYTES = 16 * 1024
MAX_LINE_BYTES = 512

_MEDIA_TYPE = re.compile(r"[a-z]+/[A-Za-z0-9.+-]{1,100}")
_REASON = re.compile(r"[ -~]{1,200}")
_ERROR = re.compile(r"[A-Za-z]{1,40}")
_NUMBER = re.compile(r"[0-9]{1,9}")
_ATTACHMENTS = {True: "some", False: "none", None: "unknown"}
_DECODED_ATTACHMENTS = {word: value for value, word in _ATTACHMENTS.items()}


@dataclass(frozen=True, slots=True)
class Request:
    """The file to inspect."""

    size_bytes: int
    filename: str

    @property
    def blocks(self) -> int:
        """The number of blocks of the file."""
        return -(-self.size_bytes // BLOCK_BYTES)

    def encode(self) -> bytes:
        """Return the request as a line."""
        return json.dumps([self.size_bytes, self.filename]).encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> "Request":
        """Parse a line of the server, which is trusted."""
        size_bytes, filename = json.loads(line)
        return cls(size_bytes, filename)


@dataclass(frozen=True, slots=True)
class BlockWanted:
    """A request of an inspector for a block of the file."""

    number: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The inspection raised an unexpected exception; `error` is the name of its class."""

    error: str


Refusal = UnknownContent | CorruptContent | ExtensionMismatch
Outcome = Content | Refusal | Failed
Reply = Outcome | BlockWanted


class ProtocolViolation(Exception):
    """An inspector has sent an invalid line."""


def encode_reply(reply: Reply) -> bytes:
    """Return a reply as a line."""
    return "\t".join(_encode_fields(reply)).encode() + b"\n"


def _encode_fields(reply: Reply) -> tuple[str, ...]:
    match reply:
        case Content():
            return "content", reply.media_type, *_encode_facts(reply)
        case UnknownContent():
            return "unknown", reply.detected or "", reply.reason or ""
        case CorruptContent():
            return "corrupt", reply.reason
        case ExtensionMismatch():
            return "mismatch", reply.detected
        case Failed(error):
            return "failed", error
        case BlockWanted(number):
            return "block", str(number)


def _encode_facts(content: Content) -> tuple[str, str, str, str]:
    return (
        "active" if content.has_active_content else "passive",
        _ATTACHMENTS[content.has_attachments],
        "locked" if content.needs_password else "open",
        str(content.pages or ""),
    )


def decode_reply(line: bytes, request: Request) -> Reply:
    """Parse the reply of an inspector, which is not trusted; raises `ProtocolViolation`."""
    extension = extension_of(request.filename)
    fields = line.decode("ascii", "replace").split("\t")
    match fields:
        case [
            "content",
            media_type,
            ("active" | "passive") as acts,
            ("some" | "none" | "unknown") as attachments,
            ("locked" | "open") as lock,
            pages,
        ] if (
            media_type in KNOWN_MEDIA_TYPES
            and not contradicts(extension, media_type, is_active=acts == "active")
            and (not pages or _NUMBER.fullmatch(pages))
        ):
            return Content(
                media_type,
                acts == "active",
                _DECODED_ATTACHMENTS[attachments],
                lock == "locked",
                int(pages or 0) or None,
            )
        case ["failed", error] if _ERROR.fullmatch(error):
            return Failed(error)
        case ["block", number] if _NUMBER.fullmatch(number):
            return BlockWanted(int(number))
    return _decode_refusal(fields, extension)


def _decode_refusal(fields: list[str], extension: str) -> Refusal:
    match fields:
        case ["mismatch", detected] if detected in KNOWN_MEDIA_TYPES and contradicts(
            extension, detected, is_active=True
        ):
            return ExtensionMismatch(detected, extension)
        case ["unknown", detected, reason] if _is_valid_unknown(detected, reason):
            return UnknownContent(detected or None, reason or None)
        case ["corrupt", reason] if _REASON.fullmatch(reason):
            return CorruptContent(reason)
    raise ProtocolViolation


def _is_valid_unknown(detected: str, reason: str) -> bool:
    is_known = not detected or _MEDIA_TYPE.fullmatch(detected)
    return bool(is_known and (not reason or _REASON.fullmatch(reason)))
