import io

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
