"""Inspection of untrusted files: which media type the content has, and whether it is harmless.

`inspect` decides; the modules for each format are `images`, `office` (with `zip`), `pdf` (with
`pdf_names` and `pdf_objects`) and `text`. The server does not call it itself: `pool.Inspectors`
runs it in child processes (`child`) with limited resources.
"""

from docvault.inspection.content import inspect
from docvault.inspection.result import Content, CorruptContent, ExtensionMismatch, UnknownContent

__all__ = ["Content", "CorruptContent", "ExtensionMismatch", "UnknownContent", "inspect"]
