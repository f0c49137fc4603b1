"""Titles, default details and codes come from the error classes."""

import pytest

from docvault import errors
from docvault.errors import (
    ContentTooLarge,
    DocvaultError,
    FileTooLarge,
    Forbidden,
    NameConflict,
    escape_pointer,
)


def test_title_is_first_line_of_docstring() -> None:
    assert NameConflict.title() == "Name conflict"


def test_default_detail_is_rest_of_docstring() -> None:
    assert NameConflict().detail == "Another active document type has this name."
    assert FileTooLarge().detail == "File too large."


def test_explicit_detail_wins() -> None:
    error = ContentTooLarge("Too long.", pointer="/file")
    assert [(e.code, e.detail, e.pointer) for e in error.errors] == [
        ("content-too-large", "Too long.", "/file")
    ]


def test_category_has_no_code() -> None:
    assert not hasattr(Forbidden, "code")


@pytest.mark.parametrize("name", errors.__all__)
def test_texts_are_sentences_and_titles_are_not(name: str) -> None:
    error = getattr(errors, name)
    if not (isinstance(error, type) and issubclass(error, DocvaultError)):
        return
    assert error.title()
    assert not error.title().endswith(".")
    assert error.default_detail().endswith(".")


def test_pointer_segment_is_escaped() -> None:
    assert escape_pointer("a/b~c") == "a~1b~0c"
