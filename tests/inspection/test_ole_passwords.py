import io
from collections.abc import Callable

import pytest
from tests.factories import ole_documents

from docvault import inspection

DEFAULT = "VelvetSweatshop"
# Of the default password, as documented by Microsoft.
DEFAULT_VERIFIER = 0x9A0A


def needs_password(data: bytes) -> bool:
    return inspection.inspect(io.BytesIO(data), len(data), None).needs_password


@pytest.mark.req("B-130")
@pytest.mark.parametrize("make", [ole_documents.doc, ole_documents.ppt])
@pytest.mark.parametrize("encrypted", [True, False])
def test_password_of_a_document_is_reported(make: Callable[..., bytes], encrypted: bool) -> None:
    assert needs_password(make(encrypted=encrypted)) is encrypted


@pytest.mark.req("B-130")
@pytest.mark.parametrize(
    "file_pass",
    [
        ole_documents.xor(0x1111),
        ole_documents.rc4("secret"),
        ole_documents.crypto_api("secret", 40),
        ole_documents.crypto_api("secret", 128),
        b"\1\0\7\0",
        b"",
    ],
)
@pytest.mark.parametrize("padding", [0, 6000])
def test_password_of_a_workbook_is_reported(file_pass: bytes, padding: int) -> None:
    assert needs_password(ole_documents.xls(file_pass, padding=padding))


@pytest.mark.req("B-130")
@pytest.mark.parametrize(
    "file_pass",
    [
        None,
        ole_documents.xor(DEFAULT_VERIFIER),
        ole_documents.rc4(DEFAULT),
        ole_documents.crypto_api(DEFAULT, 40),
        ole_documents.crypto_api(DEFAULT, 56),
        ole_documents.crypto_api(DEFAULT, 128),
    ],
)
def test_workbook_that_opens_without_asking_needs_none(file_pass: bytes | None) -> None:
    assert not needs_password(ole_documents.xls(file_pass))


@pytest.mark.req("B-130")
@pytest.mark.parametrize(("verifier", "locked"), [(0x1111, True), (DEFAULT_VERIFIER, False)])
def test_password_of_a_workbook_before_excel_97_is_reported(verifier: int, locked: bool) -> None:
    file_pass = ole_documents.xor(verifier, numbered=False)
    assert needs_password(ole_documents.xls(file_pass, stream="Book")) is locked


def test_record_among_the_cells_is_no_password() -> None:
    records = ole_documents.record(0x0809, bytes(16)) + ole_documents.record(0x00E1, bytes(2))
    records += ole_documents.record(0x002F, b"")
    assert not needs_password(ole_documents.compound_file({"Workbook": records}))


@pytest.mark.parametrize("cut", [1536, 1600])
def test_stream_that_is_cut_off_is_not_locked(cut: int) -> None:
    data = ole_documents.doc(encrypted=False)
    assert not needs_password(data[:cut])


def test_stream_that_leads_to_itself_ends() -> None:
    data = bytearray(ole_documents.ppt(encrypted=True))
    # The chain of the root's stream, in which the last small stream is.
    first = int.from_bytes(data[1024 + 116 : 1024 + 120], "little")
    data[512 + 4 * first : 512 + 4 * first + 4] = first.to_bytes(4, "little")
    assert not needs_password(bytes(data))
