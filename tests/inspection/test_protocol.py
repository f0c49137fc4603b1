"""Which messages of an inspector are trusted."""

import pytest

from docvault.inspection import images, office, rejected_formats
from docvault.inspection.protocol import (
    BlockWanted,
    Failed,
    ProtocolViolation,
    Reply,
    Request,
    decode_reply,
    encode_reply,
)
from docvault.inspection.result import Content, CorruptContent, ExtensionMismatch, UnknownContent

REQUEST = Request(3, "a.pdf")
REFUSED_TYPES = {
    *(media_type for _, _, media_type in rejected_formats._SIGNATURES),
    *office._MAIN_PARTS.values(),
    *office._OTHER_ODF,
    *images._OTHER_BRANDS.values(),
}


@pytest.mark.parametrize(
    "reply",
    [
        Content("application/pdf", has_active_content=True),
        Content("application/pdf", has_active_content=False),
        Content("application/pdf", has_active_content=False, has_attachments=True),
        Content("application/pdf", has_active_content=False, pages=12),
        Content(
            "application/pdf", has_active_content=True, has_attachments=None, needs_password=True
        ),
        UnknownContent(None),
        UnknownContent("image/svg+xml"),
        UnknownContent(None, "The text contains a control character, 0x1B. Remove it."),
        CorruptContent("The PDF has no end marker."),
        ExtensionMismatch("image/png", "pdf"),
        Failed("KeyError"),
        BlockWanted(12),
    ],
)
def test_reply_round_trips(reply: Reply) -> None:
    decoded = decode_reply(encode_reply(reply).removesuffix(b"\n"), REQUEST)
    assert (type(decoded), str(decoded)) == (type(reply), str(reply))


@pytest.mark.parametrize("media_type", sorted(REFUSED_TYPES))
def test_every_media_type_can_be_encoded(media_type: str) -> None:
    line = encode_reply(UnknownContent(media_type)).removesuffix(b"\n")
    decoded = decode_reply(line, REQUEST)
    assert isinstance(decoded, UnknownContent)
    assert decoded.detected == media_type


@pytest.mark.parametrize("filename", ["a.pdf", "a b\tc\n.pdf", "Ünï 文件.pdf", "a" * 255])
def test_request_round_trips(filename: str) -> None:
    request = Request(25 << 20, filename)
    assert request.encode().count(b"\n") == 1
    assert Request.decode(request.encode()) == request


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"content",
        b"content\tapplication/x-sh\tpassive\tnone\topen\t",
        b"content\tapplication/pdf\tharmless\tnone\topen\t1",
        b"content\tapplication/pdf\tpassive\tfew\topen\t1",
        b"content\tapplication/pdf\tpassive\tnone\tshut\t1",
        b"content\tapplication/pdf\tpassive",
        b"content\tapplication/pdf\tpassive\tnone\topen\t-1",
        b"content\tapplication/pdf\tpassive\tnone\topen\t1\t1",
        b"content\tapplication/pdf\tpassive\tnone\topen\tmore",
        # A name that ends in .pdf is a PDF, a file that runs nothing, or a mismatch.
        b"content\tapplication/msword\tactive\tnone\topen\t",
        b"mismatch\tapplication/pdf",
        b"mismatch\tapplication/x-sh",
        b"unknown\tno media type\t",
        b"unknown\timage/bmp",
        b"unknown\t\tTwo\rlines.",
        b"unknown\t" + b"a/" + b"b" * 200 + b"\t",
        b"corrupt\t",
        b"corrupt\t" + b"x" * 201,
        b"corrupt\tTwo\rlines.",
        "corrupt\tÄ".encode(),
        b"failed\tnot a class",
        b"block\t-1",
        b"block\t1e3",
        "block\t٣".encode(),
        b"block\t1234567890",
        b"\xff\xfe",
    ],
)
def test_invalid_reply_is_rejected(line: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        decode_reply(line, REQUEST)


def test_mismatch_extension_comes_from_request() -> None:
    refusal = decode_reply(b"mismatch\timage/png", REQUEST)
    assert isinstance(refusal, ExtensionMismatch)
    assert refusal.extension == "pdf"
