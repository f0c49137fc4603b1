"""The codes of single invalid values, and the parameters that a translation needs."""

from collections.abc import Mapping

# `errors[].code` is one of these, or the code of the problem itself.
DETAIL_CODES: Mapping[str, str] = {
    "invalid-format": "The text does not have the required form.",
    "invalid-value": "The value is not allowed; `detail` says why.",
    "missing-file": "No file was sent at this position.",
    "not-one-of": "The value is none of the allowed ones.",
    "out-of-range": "The number is too small or too large.",
    "repeated-file": "The file was used before.",
    "repeated-key": "The document was named before.",
    "repeated-parameter": "The parameter was sent more than once.",
    "required": "The value is missing.",
    "too-long": "The text has too many characters, or the list too many items.",
    "too-short": "The text has too few characters, or the list too few items.",
    "unknown-member": "The member does not exist.",
    "unknown-parameter": "The parameter does not exist.",
    "unsafe-text": "The text contains characters that cannot be stored.",
    "unused-file": "No item refers to the file.",
    "wrong-type": "The value has the wrong JSON type.",
}
DETAIL_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "file-too-large": ("max",),
    "not-one-of": ("allowed",),
    "out-of-range": ("min", "max"),
    "too-long": ("max",),
    "too-many-files": ("max",),
    "too-short": ("min",),
}
