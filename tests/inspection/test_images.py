import io
import struct

import pytest
from tests.factories import files

from docvault import inspection
from docvault.inspection import CorruptContent, UnknownContent


def media_type(data: bytes) -> str:
    return inspection.inspect(io.BytesIO(data), len(data), None).media_type


def assert_corrupt(data: bytes, reason: str) -> None:
    with pytest.raises(CorruptContent, match=reason):
        media_type(data)


@pytest.mark.parametrize(
    "data",
    [
        files.jpeg(),
        files.png(),
        files.gif(),
        files.webp(),
        files.webp(lossless=True),
        files.tiff(),
        files.tiff(big_tiff=True),
        files.tiff_big_endian(),
        files.heic(),
        files.avif(),
        files.bmp(),
        files.jp2(),
    ],
)
def test_image_header_is_sufficient(data: bytes) -> None:
    assert media_type(data).startswith("image/")


def test_large_dimensions_are_accepted() -> None:
    assert media_type(files.png_claiming(60_000, 60_000)) == "image/png"


# JPEG


def test_jpeg_may_have_fill_bytes_before_a_marker() -> None:
    sample = files.jpeg()

    assert media_type(sample[:2] + b"\xff\xff" + sample[2:]) == "image/jpeg"


def test_jpeg_may_have_megabytes_of_metadata() -> None:
    segment = b"\xff\xe1\xff\xff" + b"\0" * 0xFFFD
    sample = files.jpeg()

    assert media_type(sample[:2] + segment * 100 + sample[2:]) == "image/jpeg"


def test_jpeg_signature_before_text_is_corrupt() -> None:
    assert_corrupt(b"\xff\xd8\xff<script>alert(1)</script>", "no frame header")


def test_jpeg_without_a_frame_header_is_corrupt() -> None:
    assert_corrupt(b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xd9\0\0", "no frame header")


@pytest.mark.req("B-087")
@pytest.mark.parametrize("stray", [b"\0", b"\0" * 5, b"abc", b"\xff\0\0", b"x" * 60_000])
def test_jpeg_may_have_stray_bytes_between_segments(stray: bytes) -> None:
    sample = files.jpeg()
    end = 4 + int.from_bytes(sample[4:6], "big")

    assert media_type(sample[:end] + stray + sample[end:]) == "image/jpeg"


def test_jpeg_with_too_many_stray_bytes_is_corrupt() -> None:
    sample = files.jpeg()
    end = 4 + int.from_bytes(sample[4:6], "big")

    assert_corrupt(sample[:end] + b"x" * 66_000 + sample[end:], "no frame header")


def test_jpeg_with_stray_bytes_before_all_segments_is_corrupt() -> None:
    sample = files.jpeg()

    assert_corrupt(sample[:3] + b"<html>" + sample[2:], "no frame header")


def test_jpeg_of_zero_width_is_corrupt() -> None:
    assert_corrupt(b"\xff\xd8\xff\xc0\0\x0b\x08\0\1\0\0\1\1\x11\0", "frame header is malformed")


def test_jpeg_ending_in_metadata_is_corrupt() -> None:
    assert_corrupt(files.jpeg()[:40], "is truncated")


# PNG


def test_png_with_a_wrong_header_checksum_is_corrupt() -> None:
    sample = bytearray(files.png())
    sample[29] ^= 1

    assert_corrupt(bytes(sample), "PNG header")


def test_png_not_starting_with_header_is_corrupt() -> None:
    sample = files.png()

    assert_corrupt(sample[:8] + files.png_chunk(b"tEXt", b"a\0b" * 9) + sample[8:], "PNG header")


@pytest.mark.parametrize(
    "header",
    [
        (0, 1, 8, 2, 0, 0, 0),
        (1, 1 << 31, 8, 2, 0, 0, 0),
        (1, 1, 3, 2, 0, 0, 0),
        (1, 1, 8, 5, 0, 0, 0),
        (1, 1, 8, 2, 1, 0, 0),
        (1, 1, 8, 2, 0, 1, 0),
        (1, 1, 8, 2, 0, 0, 2),
    ],
)
def test_png_header_outside_the_standard_is_corrupt(header: tuple[int, ...]) -> None:
    chunk = files.png_chunk(b"IHDR", struct.pack(">LLBBBBB", *header))

    assert_corrupt(b"\x89PNG\r\n\x1a\n" + chunk, "PNG header")


# GIF


def test_gif_may_have_comments_before_its_image() -> None:
    sample = files.gif()
    start = 13 + (3 << (sample[10] & 7) + 1)

    assert media_type(sample[:start] + b"!\xfe\5hello\0" + sample[start:]) == "image/gif"


def test_gif_signature_before_a_script_is_corrupt() -> None:
    assert_corrupt(b"GIF89a1\r<?php phpinfo(); ?>\n", "no image")


def test_gif_javascript_polyglot_is_corrupt() -> None:
    assert_corrupt(b"GIF89a=1;alert(1)//", "no image")


def test_gif_without_an_image_is_corrupt() -> None:
    assert_corrupt(b"GIF89a\1\0\1\0\0\0\0;", "no image")


# WebP


def test_cut_webp_is_accepted() -> None:
    cut = files.webp()[:-20]
    assert inspection.inspect(io.BytesIO(cut), len(cut), "a.webp").media_type == "image/webp"


def test_webp_without_an_image_chunk_is_corrupt() -> None:
    sample = files.webp()

    assert_corrupt(sample[:12] + b"EXIF" + sample[16:], "WebP")


def test_webp_without_a_key_frame_is_corrupt() -> None:
    sample = files.webp()

    assert_corrupt(sample[:23] + b"\0\0\0" + sample[26:], "WebP")


# TIFF


@pytest.mark.parametrize("offset", [0, 7, 1 << 31, 0xFFFFFFFF])
def test_tiff_directory_outside_the_file_is_corrupt(offset: int) -> None:
    with pytest.raises(CorruptContent):
        media_type(b"II*\0" + struct.pack("<L", offset) + files.tiff()[8:])


@pytest.mark.parametrize("offset", [1 << 41, (1 << 64) - 1])
def test_big_tiff_directory_beyond_file_size_is_corrupt(offset: int) -> None:
    with pytest.raises(CorruptContent):
        media_type(b"II+\0\x08\0\0\0" + struct.pack("<Q", offset) + b"\0" * 100)


def test_tiff_without_dimensions_is_corrupt() -> None:
    directory = struct.pack("<HHHLL", 1, 270, 2, 1, 0)

    assert_corrupt(b"II*\0\x08\0\0\0" + directory + b"\0" * 8, "dimensions")


def test_tiff_directory_with_too_many_entries_is_corrupt() -> None:
    assert_corrupt(b"II*\0\x08\0\0\0" + b"\xff\xff" + b"\0" * 800_000, "directory")


# HEIC and HEIF


@pytest.mark.parametrize(
    ("major", "expected"),
    [
        (b"heic", "image/heic"),
        (b"heix", "image/heic"),
        (b"heim", "image/heic"),
        (b"heis", "image/heic"),
        (b"hevc", "image/heic"),
        (b"msf1", "image/heic"),
        (b"mif1", "image/heif"),
        (b"mif2", "image/heif"),
    ],
)
def test_major_brand_decides_between_heic_and_heif(major: bytes, expected: str) -> None:
    assert media_type(files.with_brands(major, b"mif1", b"heic")) == expected


@pytest.mark.parametrize("brands", [[b"avif"], [b"avis"], [b"mif1", b"avif"]])
def test_avif_brand_decides(brands: list[bytes]) -> None:
    assert media_type(files.with_brands(*brands)) == "image/avif"


@pytest.mark.parametrize(
    ("brands", "detected"),
    [
        ([b"hevc"], "image/heic-sequence"),
        ([b"msf1"], "image/heif-sequence"),
        ([b"isom", b"mp41"], "video/mp4"),
        ([b"qt  "], "video/quicktime"),
    ],
)
def test_other_brands_are_rejected_with_name(brands: list[bytes], detected: str) -> None:
    with pytest.raises(UnknownContent) as refusal:
        media_type(files.with_brands(*brands))

    assert refusal.value.detected == detected


def test_image_description_may_follow_the_image_data() -> None:
    sample = files.heic()

    moved = sample[:28] + b"\0\0\0\x0cmdat\0\0\0\0" + sample[28:]
    assert media_type(moved) == "image/heic"


def test_heic_without_an_image_description_is_corrupt() -> None:
    assert_corrupt(files.heic()[:28] + b"\0\0\0\x10mdat" + b"\0" * 8, "no image description")


def test_heic_describing_other_item_is_corrupt() -> None:
    assert_corrupt(files.heic().replace(b"pict", b"vide"), "no image description")


def test_box_may_have_a_64_bit_size() -> None:
    sample = files.heic()
    box = b"\0\0\0\1free" + (24).to_bytes(8, "big") + b"\0" * 8

    assert media_type(sample[:28] + box + sample[28:]) == "image/heic"


@pytest.mark.parametrize("size", [b"\0\0\0\0", b"\0\0\0\x07", b"\0\0\0\1" + b"mdat" + b"\xff" * 8])
def test_heic_box_of_invalid_size_is_corrupt(size: bytes) -> None:
    assert_corrupt(files.heic()[:28] + size.ljust(40, b"\0"), "no image description")


def test_file_type_box_longer_than_the_file_is_corrupt() -> None:
    assert_corrupt(b"\0\0\3\0ftypheic\0\0\0\0", "type box")


def test_text_mentioning_ftyp_is_text() -> None:
    assert media_type(b"The ftyp box comes first.") == "text/plain"


# Bitmaps and JPEG 2000


@pytest.mark.parametrize(
    "data",
    [
        files.jp2()[:30],
        files.jp2().replace(b"ihdr", b"free"),
        files.jp2().replace(b"ftypjp2 ", b"ftypfree"),
    ],
)
def test_broken_jpeg_2000_is_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptContent):
        media_type(data)


def test_tape_archive_with_a_bitmap_in_its_name_is_refused() -> None:
    head = files.bmp()[:257].ljust(257, b"\0")

    with pytest.raises(UnknownContent) as refusal:
        media_type(head + b"ustar\0" + bytes(500))
    assert refusal.value.detected == "application/x-tar"


# Polyglots


def test_image_with_pdf_in_first_kilobyte_is_corrupt() -> None:
    assert_corrupt(files.image_with_pdf_inside(), "PDF")
