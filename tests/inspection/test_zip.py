import io
import stat
import struct
import zipfile

import pytest
from tests.factories import files

from docvault import inspection
from docvault.inspection import CorruptContent, UnknownContent

END_BYTES = 22


def media_type(data: bytes) -> str:
    return inspection.inspect(io.BytesIO(data), len(data), None).media_type


def assert_corrupt(data: bytes, reason: str) -> None:
    with pytest.raises(CorruptContent, match=reason):
        media_type(data)


def docx_with(name: str, data: bytes = b"x", **attributes: int) -> bytes:
    """Return the sample document with another entry, whose ZipInfo has these attributes."""
    buffer = io.BytesIO(files.docx())
    with zipfile.ZipFile(buffer, "a") as target:
        info = zipfile.ZipInfo(name)
        info.filename = name
        for attribute, value in attributes.items():
            setattr(info, attribute, value)
        target.writestr(info, data)
    return buffer.getvalue()


def with_directory_field(data: bytes, offset: int, value: bytes) -> bytes:
    """Replace bytes of the first directory entry, at an offset within it."""
    start = data.index(b"PK\1\2") + offset
    return data[:start] + value + data[start + len(value) :]


def with_zip64(data: bytes) -> bytes:
    """The archive as streaming writers create it: every size in a ZIP64 field."""
    directory_offset = data.index(b"PK\1\2")
    directory = b""
    position = directory_offset
    count = 0
    while data[position : position + 4] == b"PK\1\2":
        header = bytearray(data[position : position + 46])
        packed, unpacked = struct.unpack_from("<LL", header, 20)
        (name_size,) = struct.unpack_from("<H", header, 28)
        extra = (
            struct.pack("<HH", 0xCAFE, 2) + b"ab" + struct.pack("<HHQQ", 1, 16, unpacked, packed)
        )
        struct.pack_into("<LL", header, 20, 0xFFFFFFFF, 0xFFFFFFFF)
        struct.pack_into("<H", header, 30, len(extra))
        directory += bytes(header) + data[position + 46 : position + 46 + name_size] + extra
        position += 46 + name_size
        count += 1
    end_64 = struct.pack(
        "<4sQHHLLQQQQ",
        b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), directory_offset,
    )  # fmt: skip
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, directory_offset + len(directory), 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return data[:directory_offset] + directory + end_64 + locator + end


# Accepted


def test_uncompressed_archive_is_accepted() -> None:
    assert media_type(files.archive(files.docx_parts(), zipfile.ZIP_STORED)) == files.DOCX


def test_zip64_sizes_are_accepted() -> None:
    data = with_zip64(files.docx())

    assert zipfile.ZipFile(io.BytesIO(data)).testzip() is None
    assert media_type(data) == files.DOCX


def test_archive_comment_is_accepted() -> None:
    data = files.docx()

    assert media_type(data[:-2] + b"\x05\0hello") == files.DOCX


def test_names_outside_ascii_are_accepted() -> None:
    assert media_type(docx_with("word/Übersicht.xml")) == files.DOCX


def test_folders_are_accepted() -> None:
    assert media_type(docx_with("word/media/", b"")) == files.DOCX


def test_2000_entries_are_accepted() -> None:
    parts = files.docx_parts()
    parts |= {f"word/media/{i}": b"" for i in range(2000 - len(parts))}

    assert media_type(files.archive(parts)) == files.DOCX


# Limits


def test_more_than_2000_entries_are_corrupt() -> None:
    assert_corrupt(files.archive({f"a{i}": b"" for i in range(2001)}), "too many entries")


def test_directory_over_one_mebibyte_is_corrupt() -> None:
    data = files.archive({f"{i}" + "a" * 60_000: b"" for i in range(18)})

    assert_corrupt(data, "too many entries")


def test_more_than_100_mebibytes_unpacked_is_corrupt() -> None:
    parts = files.docx_parts() | {"pad.bin": b"ab" * 400_000}
    data = files.archive(parts, zipfile.ZIP_STORED)
    huge = with_directory_field(data, 24, struct.pack("<L", 101 << 20))

    assert_corrupt(huge, "too large when unpacked")


def test_zip_bomb_is_corrupt() -> None:
    assert_corrupt(files.docx_bomb(10 << 20), "too large when unpacked")


# Ambiguous archives


def test_data_before_the_archive_is_corrupt() -> None:
    data = files.docx()

    assert_corrupt(b"PK\3\4" + b"x" * 50 + data, "not at the offset")


def test_entry_not_at_start_is_corrupt() -> None:
    prefix = b"PK\3\4" + b"\0" * 60
    buffer = io.BytesIO()
    buffer.write(prefix)
    with zipfile.ZipFile(buffer, "a") as target:
        for name, data in files.docx_parts().items():
            target.writestr(name, data)

    assert_corrupt(buffer.getvalue(), "data between them")


@pytest.mark.parametrize("place", ["between two entries", "before the directory"])
def test_hidden_data_between_entries_is_corrupt(place: str) -> None:
    data = files.docx()
    end = data.index(b"PK\1\2") if place == "before the directory" else data.index(b"PK\3\4", 4)
    hidden = b"%PDF-1.7 hidden"
    moved = data[:end] + hidden + data[end:]
    # Update the offsets in the end record and the directory.
    for at in _offsets(moved, after=end):
        (old,) = struct.unpack_from("<L", moved, at)
        moved = moved[:at] + struct.pack("<L", old + len(hidden)) + moved[at + 4 :]

    assert_corrupt(moved, "(data between them|followed by other data)")


def test_streamed_archive_is_accepted() -> None:
    """The sizes follow the data, because they were not known before."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in files.docx_parts().items():
            target.writestr(name, data)

    assert media_type(pipe.getvalue()).endswith("wordprocessingml.document")


def _offsets(data: bytes, *, after: int) -> list[int]:
    """Return the positions of the offsets of the directory and of entries after a position."""
    found = [data.rindex(b"PK\5\6") + 16]
    entry = data.find(b"PK\1\2")
    while entry >= 0:
        if struct.unpack_from("<L", data, entry + 42)[0] >= after:
            found.append(entry + 42)
        entry = data.find(b"PK\1\2", entry + 4)
    return found


@pytest.mark.parametrize("behind", [b"x", b"\n\nx", bytes(70_000) + b"x", b"x" + bytes(70_000)])
def test_data_after_archive_is_corrupt(behind: bytes) -> None:
    assert_corrupt(files.docx() + behind, "end record is missing")


@pytest.mark.req("B-087")
@pytest.mark.parametrize("behind", [b"\n", b"\r\n ", bytes(512), bytes(200_000)])
def test_blanks_after_archive_are_accepted(behind: bytes) -> None:
    assert media_type(files.docx() + behind) == files.DOCX
    assert media_type(files.docx()[:-2] + b"\x05\0hello" + behind) == files.DOCX
    assert media_type(with_zip64(files.docx()) + behind) == files.DOCX


@pytest.mark.parametrize("length", [4, 17, 100, 500])
def test_truncated_archive_is_corrupt(length: int) -> None:
    with pytest.raises(CorruptContent):
        media_type(files.docx()[:length])


def test_gap_before_end_record_is_corrupt() -> None:
    data = files.docx()

    assert_corrupt(data[:-END_BYTES] + b"x" * 30 + data[-END_BYTES:], "not at the offset")


def test_wrong_entry_count_is_corrupt() -> None:
    data = bytearray(files.docx())
    data[-END_BYTES + 10] -= 1

    assert_corrupt(bytes(data), "directory is malformed")


def test_duplicate_entry_name_is_corrupt() -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = docx_with("word/document.xml")

    assert_corrupt(data, "two entries with the same name")


def test_duplicate_entry_name_in_other_case_is_corrupt() -> None:
    assert_corrupt(docx_with("[content_types].xml"), "two entries with the same name")


def test_overlapping_entries_are_corrupt() -> None:
    data = files.archive({"[Content_Types].xml": b"x" * 40, "b": b"y"}, zipfile.ZIP_STORED)
    second = data.rindex(b"PK\1\2")
    first = struct.pack("<L", 0)

    assert_corrupt(data[: second + 42] + first + data[second + 46 :], "overlap|contradicts")


def test_entry_overlapping_next_is_corrupt() -> None:
    data = files.archive(files.docx_parts(), zipfile.ZIP_STORED)

    assert_corrupt(with_directory_field(data, 20, struct.pack("<L", 5000)), "overlap")


@pytest.mark.parametrize(
    ("offset", "value"),
    [(30, b"X"), (8, b"\0"), (0, b"XX"), (26, b"\x40")],
)
def test_local_header_contradicting_directory_is_corrupt(offset: int, value: bytes) -> None:
    data = files.docx()

    with pytest.raises((CorruptContent, UnknownContent)):
        media_type(data[:offset] + value + data[offset + len(value) :])


@pytest.mark.parametrize("field", [24, 16])
def test_wrong_size_or_checksum_is_corrupt(field: int) -> None:
    data = files.docx()
    start = data.index(b"PK\1\2") + field
    lie = bytes([data[start] ^ 1])

    assert_corrupt(with_directory_field(data, field, lie), "does not match the directory")


def test_entry_overlapping_directory_is_corrupt() -> None:
    data = files.archive({"[Content_Types].xml": b"x" * 40}, zipfile.ZIP_STORED)

    assert_corrupt(with_directory_field(data, 20, struct.pack("<L", 41)), "overlap")


def test_directory_entry_past_end_is_corrupt() -> None:
    data = files.archive({"[Content_Types].xml": b"x"})

    assert_corrupt(with_directory_field(data, 32, b"\1"), "directory is malformed")


def test_directory_entry_without_its_signature_is_corrupt() -> None:
    assert_corrupt(with_directory_field(files.docx(), 0, b"PK\0\0"), "directory is malformed")


def test_zip64_end_without_its_signature_is_corrupt() -> None:
    data = with_zip64(files.docx())

    assert_corrupt(data.replace(b"PK\6\6", b"PK\0\0"), "end record is malformed")


@pytest.mark.parametrize("offset", [10, 12, 16])
def test_zip64_end_contradicting_plain_end_is_corrupt(offset: int) -> None:
    data = with_zip64(files.docx())
    start = len(data) - END_BYTES + offset

    assert_corrupt(data[:start] + b"\1\0\0\0" + data[start + 4 :], "end record is malformed")


# Forbidden entries


@pytest.mark.parametrize(
    "name",
    [
        *("/etc/passwd", "../a", "a/../b", "a/..", "..", "C:/a", "c:a", "a\nb"),
        *("\\\\host\\a", "a\\..\\b", "..\\a", "a\\..", "C:\\a", "\\a"),
    ],
)
def test_hostile_name_is_corrupt(name: str) -> None:
    assert_corrupt(docx_with(name), "unsafe entry name")


@pytest.mark.req("B-087")
def test_backslash_separates_folders() -> None:
    parts = {name.replace("/", "\\"): data for name, data in files.docx_parts().items()}
    data = files.archive(parts)

    assert b"word\\document.xml" in data
    assert media_type(data) == files.DOCX


def test_backslash_does_not_hide_macros() -> None:
    data = files.archive(files.docx_parts() | {"word\\embeddings\\x.exe": b"x"})

    assert inspection.inspect(io.BytesIO(data), len(data), None).has_active_content


def test_same_name_with_both_separators_is_corrupt() -> None:
    assert_corrupt(docx_with("word\\document.xml"), "two entries with the same name")


@pytest.mark.parametrize("name", ["a..b", "..a", "a/b..", "a/...", "ab:c"])
def test_dots_within_a_name_are_accepted(name: str) -> None:
    assert media_type(docx_with(name)) == files.DOCX


def test_invalid_utf8_name_is_corrupt() -> None:
    data = docx_with("word/Übersicht.xml")

    assert_corrupt(data.replace("Ü".encode(), b"\xff\xff"), "not UTF-8")


def test_symbolic_link_is_corrupt() -> None:
    mode = (stat.S_IFLNK | 0o777) << 16

    assert_corrupt(docx_with("a", b"/etc/passwd", external_attr=mode), "link")


@pytest.mark.parametrize("flags", [1, 1 << 6, 1 << 13])
def test_encrypted_entry_is_corrupt(flags: int) -> None:
    data = with_directory_field(files.docx(), 8, struct.pack("<H", flags))

    assert_corrupt(data, "encrypted")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_is_corrupt(method: int) -> None:
    assert_corrupt(files.archive(files.docx_parts(), method), "unsupported compression")


def test_invalid_deflate_data_is_corrupt() -> None:
    data = files.docx()
    start = data.index(b"[Content_Types].xml") + len("[Content_Types].xml")

    assert_corrupt(data[:start] + b"\xff" * 8 + data[start + 8 :], "cannot be unpacked")


@pytest.mark.parametrize("extra", [b"", struct.pack("<HH", 1, 16), struct.pack("<HH", 2, 0)])
def test_missing_zip64_sizes_are_corrupt(extra: bytes) -> None:
    data = with_directory_field(files.docx(), 24, b"\xff" * 4)
    start = data.index(b"PK\1\2")
    name_end = start + 46 + len("[Content_Types].xml")
    data = with_directory_field(data, 30, struct.pack("<H", len(extra)))
    data = data[:name_end] + extra + data[name_end:]
    directory_size = struct.unpack_from("<L", data, len(data) - 10)[0] + len(extra)
    data = data[:-10] + struct.pack("<L", directory_size) + data[-6:]

    assert_corrupt(data, "directory is malformed")
