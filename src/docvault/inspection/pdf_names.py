"""A search for names in a PDF that start an action or embed a file (D20, D24).

A name that was found is only recorded, so that the search finds the others too.

The same search is applied to the raw bytes of a file, to its decompressed object streams, and to
the objects that the library has read. Each expression inspects a byte a bounded number of times,
whatever the text is: repetitions are possessive or have an upper bound, and what may follow a name
is only matched from the end of the name.
"""

import re

# The characters of names, numbers and keywords.
REGULAR = rb"[^\x00\t\n\f\r ()<>\[\]{}/%]"
BLANK = rb"[\x00\t\n\f\r ]"
_REFERENCE = rb"\d{1,10}" + BLANK + rb"{1,9}\d{1,5}" + BLANK + rb"{1,9}R"

# Long documents have some thousands of these names; more are not worth the time.
_MAX_NAMES = 50_000
# Every slash takes some 50 nanoseconds; noise has 130,000 in 32 MiB.
_MAX_SLASHES = 2_000_000
_MAX_OPEN_ACTIONS = 16
_MAX_OPEN_ACTION_OBJECTS = 4
# No program writes a comment between a key and its value; in 32 MiB of noise there are about two.
_MAX_COMMENTS = 16

# Not /JS, which does nothing without /JavaScript or /Rendition, and is so short that it also occurs
# by chance in the bytes of a scanned page.
_ACTIVE = (
    b"JavaScript Launch RichMedia SubmitForm ImportData GoToR GoToE Movie Sound Rendition XFA 3DD"
).split()
_ATTACHED = b"EmbeddedFile EmbeddedFiles FileAttachment".split()
_OTHERS = b"S AA EF OpenAction FontMatrix Predictor ObjStm First".split()
# Names that are only written with escapes to hide them.
_LOOKED_FOR = frozenset({*_ACTIVE, *_ATTACHED, *_OTHERS, b"XRef"})

# The lookahead is only for speed. /S is frequent in tagged documents; it only matters if the type
# of the action is not a name, but a string, a reference, or hidden behind a comment.
_NAMES = re.compile(
    rb"/(?=[3AEFGIJLMOPRSX])(?:"
    rb"(?P<active>" + b"|".join(_ACTIVE) + rb")(?!" + REGULAR + rb")"
    rb"|(?P<attached>" + b"|".join(_ATTACHED) + rb")(?!" + REGULAR + rb")"
    rb"|(?P<type>S)(?=" + BLANK + rb"*+[(<%\d])"
    rb"|(?P<holder>AA)(?!" + REGULAR + rb")"
    rb"|(?P<file>EF)(?!" + REGULAR + rb")"
    rb"|(?P<open>OpenAction)(?!" + REGULAR + rb")"
    rb"|(?P<matrix>FontMatrix)(?!" + REGULAR + rb")"
    rb"|(?P<predictor>Predictor)(?!" + REGULAR + rb")"
    # Some readers do not require /ObjStm, but all need /First, which outlines have too.
    rb"|(?P<stream>ObjStm|First)(?!" + REGULAR + rb"))"
)
_ESCAPED_NAME = re.compile(
    rb"/([^\x00\t\n\f\r ()<>\[\]{}/%#]{0,126}+#[0-9A-Fa-f]{2}" + REGULAR + rb"{0,126}+)"
)
_ESCAPE = re.compile(rb"#([0-9A-Fa-f]{2})")

_BLANKS = re.compile(BLANK + rb"*+")
_COMMENT = re.compile(rb"%[^\r\n]{0,2047}+[\r\n]" + BLANK + rb"*+")
_TYPE_THAT_IS_NO_NAME = re.compile(
    rb"\([A-Za-z\\]{3}|<(?!<)(?:[0-9A-Fa-f]|" + BLANK + rb"){4}|" + _REFERENCE + rb"|"
    rb"\d{1,10}" + BLANK + rb"{0,9}%"
)
# A dictionary or a reference. Random bytes may contain /AA (actions) or /EF (an embedded file), but
# are seldom followed by one of these.
_DICTIONARY_OR_REFERENCE = re.compile(rb"[<\d.+-]|\Z")
# PDF.js, the viewer of Firefox, executed any other value as a script (CVE-2024-4367).
_MATRIX = re.compile(BLANK + rb"*+\[(?:" + BLANK + rb"*+[-+.\d]{1,24}+){1,6}+" + BLANK + rb"*+\]")
# These predictors keep the order of the bytes and only add one at the start of each row.
_PNG_PREDICTOR = re.compile(BLANK + rb"*+1[0-5]?+" + BLANK + rb"*+[/>]")
_REFERRED = re.compile(rb"0*+(\d{1,10})" + BLANK + rb"{1,9}\d{1,5}" + BLANK + rb"{1,9}R")
# A destination, or an action that goes to a destination and has no other entry (such as /Next).
_GOES_TO_PAGE = re.compile(
    rb"\[|<<(?:" + BLANK + rb"*+/(?:"
    rb"Type" + BLANK + rb"*+/Action|S" + BLANK + rb"*+/GoTo"
    rb"|D" + BLANK + rb"*+(?:\[[^\]\[()<>%]{0,200}+\]|\([^()\\]{0,200}+\)"
    rb"|/" + REGULAR + rb"{1,126}+|" + _REFERENCE + rb")"
    rb")){1,9}+" + BLANK + rb"*+>>"
)


class Uninspectable(Exception):
    """Something cannot be inspected, or not within the limits."""


class NameSearch:
    """A search in all texts of a file, with limits for all of them together.

    `open_actions` are the numbers of the objects that act when the file is opened; `moves_bytes` is
    true if a predictor may change the order of the bytes of a stream. `embedded_files` counts the
    dictionaries that refer to an embedded file, each as often as it occurs in a text.
    """

    def __init__(self) -> None:
        self.is_active = False
        self.has_attachments = False
        self.embedded_files = 0
        self.open_actions: set[bytes] = set()
        self.moves_bytes = False
        self._slashes = self._names = self._comments = self._opened = 0

    def scan(self, text: bytes) -> list[int]:
        """Return the positions of `/ObjStm` and `/First`, which mark possible object streams.

        Raises:
            Uninspectable: the text has too many names.
        """
        self._slashes += text.count(b"/")
        if self._slashes > _MAX_SLASHES:
            raise Uninspectable
        marks = []
        for match in _NAMES.finditer(text):
            self._count_name()
            if match["stream"]:
                marks.append(match.start())
            else:
                self._check_name(match)
        for match in _ESCAPED_NAME.finditer(text):
            self._count_name()
            name = _ESCAPE.sub(lambda escape: bytes.fromhex(escape[1].decode()), match[1])
            self.is_active = self.is_active or name in _LOOKED_FOR
            self.has_attachments = self.has_attachments or name in _ATTACHED or name == b"EF"
        return marks

    def _count_name(self) -> None:
        self._names += 1
        if self._names > _MAX_NAMES:
            raise Uninspectable

    def _check_name(self, match: re.Match[bytes]) -> None:
        text, end = match.string, match.end()
        if match["active"]:
            self.is_active = True
        elif match["attached"]:
            self.has_attachments = True
        elif match["matrix"]:
            self.is_active = self.is_active or not _MATRIX.match(text, end)
        elif match["predictor"]:
            self.moves_bytes = self.moves_bytes or not _PNG_PREDICTOR.match(text, end)
        elif match["open"]:
            self._check_open_action(text, self._skip_to_value(text, end))
        else:
            sought = _TYPE_THAT_IS_NO_NAME if match["type"] else _DICTIONARY_OR_REFERENCE
            if not sought.match(text, self._skip_to_value(text, end)):
                return
            if match["file"]:
                self.has_attachments = True
                self.embedded_files += 1
            else:
                self.is_active = True

    def _check_open_action(self, text: bytes, position: int) -> None:
        self._opened += 1
        if referred := _REFERRED.match(text, position):
            self.open_actions.add(referred[1])
        elif not _GOES_TO_PAGE.match(text, position):
            self.is_active = True
        if self._opened > _MAX_OPEN_ACTIONS or len(self.open_actions) > _MAX_OPEN_ACTION_OBJECTS:
            raise Uninspectable

    def _skip_to_value(self, text: bytes, position: int) -> int:
        """Return where the value of a key begins, after blanks and comments."""
        position = _require_end(_BLANKS.match(text, position))
        while text.startswith(b"%", position):
            self._comments += 1
            if self._comments > _MAX_COMMENTS:
                raise Uninspectable
            position = _require_end(_COMMENT.match(text, position))
        return position


def goes_to_page(text: bytes) -> bool:
    """Return whether an object is a destination, or an action that only goes to one."""
    return _GOES_TO_PAGE.match(text) is not None


def _require_end(match: re.Match[bytes] | None) -> int:
    if match is None:
        raise Uninspectable
    return match.end()
