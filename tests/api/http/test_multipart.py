import base64
import time
from collections.abc import Sequence
from types import SimpleNamespace

import pytest
from fastapi import FastAPI, Request
from starlette.types import Message

from docvault.api.http.multipart import PartEnd, PartStart, read_parts
from docvault.errors import FileTooLarge, MalformedRequest

FILE = b'Content-Disposition: form-data; name="file"; filename="a.pdf"\r\n'
FOLDED = b'Content-Disposition: form-data;\r\n name="file";\r\n\t filename="a.pdf"\r\nX:\r\n y\r\n'
# What looks like delimiters, and pieces of them.
DATA = b"\r\n\r\n--\r\n--BX\r\n--\r\r\n-\r\n--B\rB\r\n--B-\r\n folded\r\n--"
BODY = b"--B\r\n" + FILE + b"\r\n" + DATA + b"\r\n--B--\r\n"


def request_of(chunks: Sequence[bytes]) -> Request:
    """Return a request whose body arrives in these chunks."""
    app = FastAPI()
    app.state.resources = SimpleNamespace(
        settings=SimpleNamespace(body_idle_seconds=15, body_total_seconds=600)
    )
    left = list(chunks)

    async def receive() -> Message:
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    headers = [(b"content-type", b"multipart/form-data; boundary=B")]
    return Request({"type": "http", "app": app, "headers": headers}, receive)


async def parse(*chunks: bytes) -> list[tuple[str, str | None, bytes]]:
    """Return name, file name and data of each part."""
    parts: list[tuple[str, str | None, bytes]] = []
    data = b""
    async for event in read_parts(request_of(chunks), 10**8, FileTooLarge()):
        match event:
            case PartStart(name, filename):
                parts.append((name, filename, b""))
                data = b""
            case PartEnd():
                parts[-1] = (*parts[-1][:2], data)
            case _:
                data += event
    return parts


@pytest.mark.parametrize(
    "body",
    [
        BODY,
        BODY.replace(FILE, FOLDED),
        b"\r\n" + BODY,
        b"preamble\n" + BODY,
        b"preamble\r\n--BX\r\n--B2--\r\n" + BODY,
        b"p" * 8000 + b"\r\n" + BODY,
        BODY + b"epilogue\r\n--B\r\n\r\n",
        BODY.replace(b"--B\r\n", b"--B \t \r\n").replace(b"--B--\r\n", b"--B-- \r\n"),
    ],
    ids=["plain", "folded", "line", "line feed", "preamble", "long preamble", "epilogue", "blanks"],
)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 10**6])
@pytest.mark.req("B-097")
async def test_parts_are_the_same_however_the_body_arrives(body: bytes, size: int) -> None:
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    assert await parse(*chunks) == [("file", "a.pdf", DATA)]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 10**6])
async def test_each_head_is_unfolded_and_data_is_not(size: int) -> None:
    head = b"--B \r\n" + FOLDED + b"\r\n"
    body = head + b"a\r\n b" + b"\r\n" + head + b"\r\n" + head + b"\r\n\r\n--B--"
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    assert await parse(*chunks) == [("file", "a.pdf", data) for data in (b"a\r\n b", b"", b"\r\n")]


@pytest.mark.parametrize(
    "body",
    [
        b"p" * 20_000 + b"\r\n" + BODY,
        b"preamble" + BODY,
        b"--B\r\n " + FILE + b"\r\nx\r\n--B--",
        b"--B\r\n" + FILE + b"X: y\r\n z: \r\n" * 6000,
        b"--B\r\n" + FILE + b"X: y" + b"\r\n z" * 6000 + b"\r\n\r\nx\r\n--B--",
        b"--B\r\n" + FILE + b"\r\nx\r\n--B x\r\n" + FILE + b"\r\ny\r\n--B--",
        b"--B\r\n" + FILE + b"\r\nx\r\n--B-",
    ],
    ids=["preamble", "same line", "fold first", "head", "field", "padding", "end"],
)
async def test_malformed_body_is_rejected(body: bytes) -> None:
    with pytest.raises(MalformedRequest):
        await parse(body)


@pytest.mark.parametrize(
    "unit", [b"\r\n--BB", b"\r\n--BX", b"\r", b"\r\n--B-", b"\r\n--B\r", b"\r\n"], ids=range(6)
)
async def test_data_full_of_delimiters_is_parsed_quickly(unit: bytes) -> None:
    data = b"Y" + unit * (2**20 // len(unit)) + b"Y"
    body = b"--B\r\n" + FILE + b"\r\n" + data + b"\r\n--B--"
    chunks = [body[start : start + 65536] for start in range(0, len(body), 65536)]
    started = time.process_time()
    assert await parse(*chunks) == [("file", "a.pdf", data)]
    assert time.process_time() - started < 5


def encoded(encoding: str, data: bytes) -> bytes:
    """A body of two parts, of which the first one is encoded."""
    head = f"Content-Transfer-Encoding: {encoding}\r\n\r\n".encode()
    return b"--B\r\n" + FILE + head + data + b"\r\n--B\r\n" + FILE + b"\r\nplain=41\r\n--B--"


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("base64", base64.encodebytes(DATA).replace(b"\n", b"\r\n")),
        ("BASE64", base64.b64encode(DATA)),
        ("binary", DATA),
        ("8bit ", DATA),
        ("7bit", DATA),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 10**6])
@pytest.mark.req("B-131")
async def test_encoded_part_is_decoded(encoding: str, data: bytes, size: int) -> None:
    body = encoded(encoding, data)
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    assert await parse(*chunks) == [("file", "a.pdf", DATA), ("file", "a.pdf", b"plain=41")]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 11, 10**6])
@pytest.mark.req("B-131")
async def test_lines_of_quoted_printable_are_joined(size: int) -> None:
    body = encoded("Quoted-Printable", b"a;=\r\nb=3Dc=FC\r\n" * 200 + b"end=41=")
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    assert (await parse(*chunks))[0][2] == b"a;b=c\xfc\r\n" * 200 + b"endA"


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("base64", b"YQ"),
        ("base64", b"YQ==YQ=="),
        ("base64", b"%PDF-1.7"),
        ("quoted-printable", b"a" * 2000),
        ("x-gzip64", b"a"),
    ],
)
@pytest.mark.parametrize("size", [1, 10**6])
@pytest.mark.req("B-131")
async def test_part_that_cannot_be_decoded_is_rejected(
    encoding: str, data: bytes, size: int
) -> None:
    body = encoded(encoding, data)
    with pytest.raises(MalformedRequest):
        await parse(*[body[start : start + size] for start in range(0, len(body), size)])
