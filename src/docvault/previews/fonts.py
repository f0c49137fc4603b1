"""Fonts for PDFs that do not embed theirs, for `child`: loaded before files are forbidden.

PDFium itself has Latin letters without Polish or Czech ones, and the child can open no font of the
system. It gets three free families with all of Latin, Greek and Cyrillic, in which text is about as
wide as in Arial, Times and Courier. Letters that these lack (Chinese, Japanese, Korean) stay blank.
"""

from __future__ import annotations

import ctypes
from types import ModuleType

import fontpkg_arimo
import fontpkg_eb_garamond
import fontpkg_roboto_mono
from pypdfium2 import raw

_SANS, _SERIF, _MONO = range(3)
_PACKAGES: tuple[tuple[ModuleType, str], ...] = (
    (fontpkg_arimo, "Arimo"),
    (fontpkg_eb_garamond, "EBGaramond"),
    (fontpkg_roboto_mono, "RobotoMono"),
)
# Of fpdf_sysfontinfo.h.
_FIXED_PITCH, _ROMAN = 1, 16
_SYMBOL_CHARSET = 2


class _Fonts:
    """Answers the library's questions; a font is known by a number from 1, as 0 means none."""

    def __init__(self) -> None:
        self._names: list[bytes] = []
        self._bodies: list[bytes] = []
        for package, name in _PACKAGES:
            for style in ("", "-Italic"):
                path = package.ROOT / "files" / f"{name}{style}[wght].ttf"
                self._names.append(f"{name}{style}".encode() + b"\0")
                self._bodies.append(path.read_bytes())
        # The library keeps pointers to these as long as the process runs.
        self.interface = raw.FPDF_SYSFONTINFO(version=1)
        types = dict(raw.FPDF_SYSFONTINFO._fields_)
        for name, function in {
            "MapFont": self._map_font,
            "GetFaceName": self._copy_name,
            "GetFontData": self._copy_body,
            "DeleteFont": lambda _interface, _font: None,
        }.items():
            setattr(self.interface, name, types[name](function))

    def _map_font(
        self,
        _interface: object,
        _weight: int,
        italic: int,
        charset: int,
        pitch: int,
        face: ctypes.c_char_p,
        _exact: object,
    ) -> int | None:
        # The library has the symbols of its own, such as the ticks of forms.
        if charset == _SYMBOL_CHARSET:
            return None
        family = _choose_family(ctypes.string_at(face), pitch)
        return 1 + 2 * family + bool(italic)

    def _copy_name(self, _interface: object, font: int, buffer: object, size: int) -> int:
        return _copy(self._names[font - 1], buffer, size)

    def _copy_body(
        self, _interface: object, font: int, table: int, buffer: object, size: int
    ) -> int:
        # 0 stands for the whole file; single tables are requested only of a collection.
        return 0 if table else _copy(self._bodies[font - 1], buffer, size)


def _choose_family(face: bytes, pitch: int) -> int:
    if pitch & _FIXED_PITCH or face.startswith(b"Courier"):
        return _MONO
    if pitch & _ROMAN or face.startswith(b"Times"):
        return _SERIF
    return _SANS


def _copy(data: bytes, buffer: object, size: int) -> int:
    """Copy to a buffer that is large enough; return the size that is needed."""
    if buffer and size >= len(data):
        ctypes.memmove(buffer, data, len(data))  # type: ignore[arg-type]
    return len(data)


_fonts = _Fonts()


def offer_fonts() -> None:
    """Let the library use these fonts for those that a PDF does not embed."""
    raw.FPDF_SetSystemFontInfo(_fonts.interface)
