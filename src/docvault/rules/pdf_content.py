"""PDF: header and end, and whether anything in it acts by itself (SECURITY D20, D24).

Names are searched for in the raw bytes and in the object streams, the one place where objects
are compressed (ISO 32000-2, 7.5.7); encryption leaves names readable everywhere else. What
cannot be looked into counts as active, which only means that it is never shown inline.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

from docvault.rules.content import Content, CorruptContent, read_at
from docvault.rules.pdf_object_streams import inflate_object_stream, read_object, stream_start

_CHUNK_BYTES = 256 * 1024
# What is looked at behind the start of a name lies within this many bytes.
_LOOKAHEAD_BYTES = 1024

# Readers look for the end in the last 1 KiB; scanners pad with zeros to a block size.
_END_REACH_BYTES = 2048
_MAX_PADDING_BYTES = 64 * 1024

_MAX_ESCAPED_NAMES = 20_000
_MAX_OBJECT_STREAMS = 4_096
_MAX_INFLATED_BYTES = 16 << 20
_MAX_OPEN_ACTIONS = 16

_BLANK = rb"[\x00\t\n\f\r ]"
_REGULAR = rb"[^\x00\t\n\f\r ()<>\[\]{}/%]"
_REFERENCE = rb"\d{1,10}" + _BLANK + rb"{1,9}\d{1,5}" + _BLANK + rb"{1,9}R"

# A script needs /S /JavaScript or /Rendition next to its /JS, which random bytes hold too often
# to be looked for. The first lookahead is for speed alone.
_NAMES = re.compile(
    rb"/(?=[3AEFGIJLMORSX])(?:"
    rb"(?P<active>(?:JavaScript|Launch|RichMedia|EmbeddedFiles?|SubmitForm|ImportData|GoTo[RE]"
    rb"|Movie|Sound|Rendition|XFA|3DD)(?!" + _REGULAR + rb")"
    rb"|AA" + _BLANK + rb"{0,9}(?:<<|" + _REFERENCE + rb"))"
    rb"|(?P<open>OpenAction(?!" + _REGULAR + rb"))"
    # Some readers do not insist on the /Type of an object stream, but all on an integer /First.
    rb"|ObjStm|First" + _BLANK + rb"{1,9}(?P<first>\d{1,10})" + _BLANK + rb"{0,9}[/>])"
)
_ESCAPE = re.compile(rb"#([0-9A-Fa-f]{2})")
_NAME = re.compile(rb"/" + _REGULAR + rb"{1,127}")

# A destination, or an action that only goes to one: nothing follows it (/Next) or hides in it.
_GOES_TO_PAGE = re.compile(
    rb"\[|<<(?:"
    + rb"|".join(
        _BLANK + rb"{0,9}/" + key
        for key in (
            rb"Type" + _BLANK + rb"{0,9}/Action",
            rb"S" + _BLANK + rb"{0,9}/GoTo",
            rb"D" + _BLANK + rb"{0,9}(?:\[[^\]\[()<>%]{0,200}\]|\([^()\\]{0,200}\)|"
            rb"/" + _REGULAR + rb"{1,127}|" + _REFERENCE + rb")",
        )
    )
    + rb"){1,9}"
    + _BLANK
    + rb"{0,9}>>"
)
_REFERRED = re.compile(_BLANK + rb"{0,9}(?:(\d{1,10})" + _REFERENCE[9:] + rb")?")
