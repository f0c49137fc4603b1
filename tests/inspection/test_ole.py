import io

import pytest
from tests.factories import containers

from docvault import inspection
from docvault.inspection import Content, UnknownContent, ole


def inspect(data: bytes, filename: str | None = None) -> Content:
    return inspection.inspect(io.BytesIO(data), len(data), filename)


def refusal(data: bytes, filename: str | None = None) -> UnknownContent:
    with pytest.raises(UnknownContent) as raised:
        inspect(data, filename)
    return raised.value


def test_entry_deep_in_a_compound_file_does_not_decide() -> None:
    data = containers.ole("__nameid_version1.0", "__properties_version1.0", "WordDocument")

    assert inspect(data).media_type == "application/vnd.ms-outlook"


def test_compound_file_may_have_sectors_of_4096_bytes() -> None:
    data = containers.ole("WordDocument", sector_shift=12)

    assert inspect(data).media_type == "application/msword"


def test_directory_may_have_several_sectors() -> None:
    names = [f"stream {n}" for n in range(40)]

    assert inspect(containers.ole(*names, "Book")).media_type == "application/vnd.ms-excel"


@pytest.mark.parametrize(
    ("tables", "links"),
    [(109, {1536: 4}), (109 + 127, {1536 + 508: 3, 2048: 4})],
)
def test_large_document_lists_further_tables_in_sectors(tables: int, links: dict[int, int]) -> None:
    """The header lists 109 tables, which cover 6.8 MiB; each further sector lists 127 more."""
    small = containers.ole("a", "b", "c", "WordDocument")
    directory = tables * 128
    data = bytearray((directory + 2) * 512)
    data[:512] = small[:512]
    data[-512:], data[7 * 512 : 8 * 512] = small[1024:1536], small[1536:2048]
    numbers = {48: directory, 68: 2, **links, 5 * 512: 6, 512 + 4 * 6: containers.END_OF_CHAIN}
    for place, number in numbers.items():
        data[place : place + 4] = number.to_bytes(4, "little")

    assert inspect(bytes(data)).media_type == "application/msword"


@pytest.mark.parametrize(
    ("data", "detected"),
    [
        (containers.ole("VisioDocument"), "application/vnd.visio"),
        (containers.ole("Contents"), "application/x-ole-storage"),
        (containers.ole(), "application/x-ole-storage"),
        (containers.ole("Workbook", program=next(iter(ole._INSTALLERS))),
         "application/x-ms-installer"),
        (containers.OLE_SIGNATURE + bytes(500), "application/x-ole-storage"),
        (containers.ole("Workbook")[:600], "application/x-ole-storage"),
    ],
)  # fmt: skip
def test_other_compound_file_is_refused_by_name(data: bytes, detected: str) -> None:
    assert refusal(data).detected == detected


def test_directory_in_itself_ends() -> None:
    data = bytearray(containers.ole("a", "b"))
    # The chain of the directory leads back to its first sector, and its entries to themselves.
    data[512 + 4 : 512 + 8] = (1).to_bytes(4, "little")
    data[1024 + 128 + 72 : 1024 + 128 + 76] = (1).to_bytes(4, "little")

    assert refusal(bytes(data)).detected == "application/x-ole-storage"
