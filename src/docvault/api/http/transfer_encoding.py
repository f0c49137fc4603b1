"""Content-Transfer-Encoding of a part (RFC 2045).

RFC 7578 deprecates it, but programs that build forms with a library for mail send it. Without
decoding, the stored bytes would not be the file.
"""

from binascii import Error, a2b_base64, a2b_qp

from docvault.errors import MalformedRequest

# Longer than any line that is valid (RFC 5322, section 2.1.1).
_MAX_LINE_BYTES = 1000


class Unencoded:
    """Bytes as they are."""

    def decode(self, data: bytes) -> bytes:
        """Return what can be decoded so far."""
        return data

    def finish(self) -> bytes:
        """Return the rest at the end of the part; raises `MalformedRequest` if it is cut."""
        return b""


class Base64(Unencoded):
    """Decodes base64 in lines of any length."""

    def __init__(self) -> None:
        self._held = b""
        self._is_padded = False

    def decode(self, data: bytes) -> bytes:
        """See `Unencoded`; raises `MalformedRequest`."""
        text = self._held + data.translate(None, b" \t\r\n")
        end = len(text) // 4 * 4
        self._held = text[end:]
        if text and self._is_padded:
            raise _malformed("base64")
        self._is_padded = text[:end].endswith(b"=")
        try:
            return a2b_base64(text[:end], strict_mode=True)
        except Error as error:
            raise _malformed("base64") from error

    def finish(self) -> bytes:
        """See `Unencoded`."""
        if self._held:
            raise _malformed("base64")
        return b""


class QuotedPrintable(Unencoded):
    """Decodes quoted-printable line by line."""

    def __init__(self) -> None:
        self._held = b""

    def decode(self, data: bytes) -> bytes:
        """See `Unencoded`; raises `MalformedRequest`."""
        text = self._held + data
        end = text.rfind(b"\n") + 1
        self._held = text[end:]
        if len(self._held) > _MAX_LINE_BYTES:
            raise _malformed("quoted-printable")
        return a2b_qp(text[:end])

    def finish(self) -> bytes:
        """See `Unencoded`."""
        return a2b_qp(self._held)


_DECODERS: dict[bytes, type[Unencoded]] = {
    b"": Unencoded,
    b"7bit": Unencoded,
    b"8bit": Unencoded,
    b"binary": Unencoded,
    b"base64": Base64,
    b"quoted-printable": QuotedPrintable,
}


def decoder_for(encoding: bytes) -> Unencoded:
    """Return a decoder for a part; raises `MalformedRequest` if the encoding is unknown."""
    decoder = _DECODERS.get(encoding.strip().lower())
    if decoder is None:
        raise MalformedRequest("The Content-Transfer-Encoding of a part is unknown.")
    return decoder()


def _malformed(encoding: str) -> MalformedRequest:
    return MalformedRequest(f"A part is not valid {encoding}, its Content-Transfer-Encoding.")
