import io
import re
import struct

import pytest
from tests.factories import containers

from docvault import inspection
from docvault.domain.media_types import ASICE, ASICS, NUMBERS, PAGES, ZIP
from docvault.inspection import Content, UnknownContent
from docvault.inspection.result import uninspected


def inspect(data: bytes, filename: str | None = None) -> Content:
    return inspection.inspect(io.BytesIO(data), len(data), filename)


def refusal(data: bytes, filename: str | None = None) -> UnknownContent:
    with pytest.raises(UnknownContent) as raised:
        inspect(data, filename)
    return raised.value


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ({"mimetype": "application/vnd.bdoc-1.0", "a.txt": "a"}, ASICE),
        ({"a.txt": "a", "b.txt": "b", "META-INF/signatures1.xml": "s"}, ASICE),
        ({"a.txt": "a", "META-INF/ASiCManifest.xml": "m", "META-INF/signature001.p7s": "s"}, ASICE),
        ({"a.txt": "a", "META-INF/signature.p7s": "s"}, ASICS),
        ({"mimetype": "application/pdf", "a": "a", "META-INF/signature.p7s": "s"}, ASICS),
        ({"a.txt": "a", "META-INF/container.xml": "c"}, ZIP),
        ({"Index.zip": "z", "preview.jpg": "j"}, PAGES),
        ({"index.xml": '<?xml version="1.0"?><ls:document xmlns:ls="a"/>'}, NUMBERS),
        ({"index.xml": "<a/>"}, ZIP),
    ],
)
def test_container_without_declared_type_is_recognized(
    entries: dict[str, str], expected: str
) -> None:
    assert inspect(containers.packed(entries)) == uninspected(expected)


@pytest.mark.parametrize(
    ("name", "detected"),
    [
        ("META-INF/MANIFEST.MF", "application/java-archive"),
        ("AndroidManifest.xml", "application/vnd.android.package-archive"),
        ("AppxManifest.xml", "application/vnd.ms-appx"),
    ],
)
def test_archive_that_is_a_program_is_refused(name: str, detected: str) -> None:
    data = containers.packed({"a.txt": "a", name: "x"})

    assert refusal(data, "a.zip").detected == detected


def test_refused_archive_is_named_with_the_reason() -> None:
    error = refusal(containers.packed({"../a": "a"}))

    assert (error.detected, error.reason) == (ZIP, "The archive has an unsafe entry name.")


def encrypted(entries: dict[str, str], *, flags: int = 1, method: int = 0) -> bytes:
    """An archive whose entries are encrypted, as far as their headers say."""
    data = bytearray(containers.packed(entries))
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        for match in re.finditer(re.escape(signature), bytes(data)):
            struct.pack_into("<HH", data, match.start() + offset, flags, method)
    return bytes(data)


@pytest.mark.req("B-130")
@pytest.mark.parametrize("method", [0, 99])
def test_password_of_an_archive_is_reported(method: int) -> None:
    content = inspect(encrypted({"a.pdf": "a", "b.pdf": "b"}, method=method), "a.zip")

    assert content == uninspected(ZIP, needs_password=True)


@pytest.mark.req("B-130")
def test_archive_of_which_a_part_is_encrypted_needs_no_password() -> None:
    whole = containers.packed({"b.pdf": "b", "a.pdf": "a"})
    data = bytearray(whole)
    # The second entry alone.
    data[whole.rfind(b"PK\3\4") + 6] = data[whole.rfind(b"PK\1\2") + 8] = 1

    assert inspect(bytes(data)) == uninspected(ZIP)


@pytest.mark.req("B-130")
def test_password_of_an_iwork_document_is_reported() -> None:
    data = containers.packed({"Index/Document.iwa": "i", ".iwpv2": "v"})

    assert inspect(data, "a.numbers") == uninspected(NUMBERS, needs_password=True)


def test_root_of_an_encrypted_document_is_not_read() -> None:
    assert inspect(encrypted({"index.xml": "<a/>"})) == uninspected(ZIP, needs_password=True)


@pytest.mark.parametrize("flags", [1 << 6 | 1, 1 << 13])
def test_archive_with_hidden_names_is_refused(flags: int) -> None:
    assert refusal(encrypted({"a": "a"}, flags=flags)).reason == "The archive is encrypted."


def test_entry_that_is_encrypted_in_one_of_its_headers_is_refused() -> None:
    data = bytearray(containers.packed({"a": "a"}))
    data[data.find(b"PK\1\2") + 8] = 1

    assert refusal(bytes(data)).reason == "An archive entry contradicts the directory."
