"""Signatures of binary formats that are rejected, so that the response can name the type."""

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"PK\3\4", "application/zip"),
    (0, b"PK\5\6", "application/zip"),
    (0, b"PK00PK\3\4", "application/zip"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\0", "application/x-xz"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"MSCF", "application/vnd.ms-cab-compressed"),
    (257, b"ustar", "application/x-tar"),
    (0, b"MZ", "application/x-msdownload"),
    (0, b"\x7fELF", "application/x-elf"),
    (0, b"\xca\xfe\xba\xbe", "application/java-vm"),
    (0, b"\xcf\xfa\xed\xfe", "application/x-mach-binary"),
    (0, b"\xce\xfa\xed\xfe", "application/x-mach-binary"),
    (0, b"\0asm", "application/wasm"),
    (0, b"L\0\0\0\x01\x14\x02\0", "application/x-ms-shortcut"),
    (0, b"dex\n03", "application/vnd.android.dex"),
    (0, b"SQLite format 3\0", "application/vnd.sqlite3"),
    (0, b"\x78\x9f\x3e\x22", "application/vnd.ms-tnef"),
    (0, b"BM", "image/bmp"),
    (0, b"\0\0\1\0", "image/vnd.microsoft.icon"),
    (0, b"8BPS", "image/vnd.adobe.photoshop"),
    (0, b"AT&TFORM", "image/vnd.djvu"),
    (0, b"\xff\x4f\xff\x51", "image/j2c"),
    (0, b"\0\0\0\x0cJXL \r\n", "image/jxl"),
    (0, b"\xff\x0a", "image/jxl"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"OggS", "application/ogg"),
    (0, b"fLaC", "audio/flac"),
    (8, b"WAVE", "audio/vnd.wave"),
    (8, b"AVI ", "video/x-msvideo"),
    (0, b"\x1aE\xdf\xa3", "video/x-matroska"),
    (0, b"FLV\1", "video/x-flv"),
)


def detect_rejected_format(head: bytes) -> str | None:
    """Return the media type of a rejected format by the first 264 bytes, or None."""
    for offset, signature, media_type in _SIGNATURES:
        if head.startswith(signature, offset):
            return media_type
    return None
