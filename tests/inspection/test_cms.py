import base64
import io

import pytest
from tests.factories import containers, files

from docvault import inspection
from docvault.domain.media_types import P7M, P7S
from docvault.inspection import Content, UnknownContent
from docvault.inspection.result import uninspected


def inspect(data: bytes, filename: str | None = None) -> Content:
    return inspection.inspect(io.BytesIO(data), len(data), filename)


def refusal(data: bytes, filename: str | None = None) -> UnknownContent:
    with pytest.raises(UnknownContent) as raised:
        inspect(data, filename)
    return raised.value


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (containers.p7m(), uninspected(P7M)),
        (containers.p7m(b"x" * 100_000), uninspected(P7M)),
        (containers.enveloped(), uninspected(P7M)),
        (containers.p7s(), Content(P7S, has_active_content=False)),
    ],
)
def test_signed_file_is_told_from_detached_signature(data: bytes, expected: Content) -> None:
    assert inspect(data) == expected
    for label in (b"PKCS7", b"CMS"):
        pem = b"-----BEGIN %s-----\n%s-----END %s-----\n"
        assert inspect(pem % (label, base64.encodebytes(data), label)) == expected


def test_signed_file_of_indefinite_length_is_recognized() -> None:
    oid = bytes.fromhex("06092a864886f70d010702")
    data = b"\x30\x80" + oid + b"\xa0\x80\x30\x80\x02\x01\x01\x31\x00"
    attached = data + b"\x30\x80" + oid + b"\xa0\x80\x24\x80\x04\x02hi" + bytes(20)
    detached = data + b"\x30\x80" + oid + bytes(20)

    assert inspect(attached).media_type == P7M
    assert inspect(detached).media_type == P7S


def test_base64_of_a_signed_file_is_recognized_by_its_extension() -> None:
    data = base64.encodebytes(containers.p7m(b"x" * 2000))

    assert inspect(data, "a.p7m").media_type == P7M
    assert inspect(data.replace(b"\n", b""), "a.pdf.p7m").media_type == P7M
    assert inspect(data, "a.txt").media_type == "text/plain"


def test_signed_archive_is_not_an_appended_one() -> None:
    assert inspect(containers.p7m(files.docx())).media_type == P7M


def test_other_der_is_unknown() -> None:
    assert refusal(containers.der(0x30, b"\x02\x01\x01")).detected is None
