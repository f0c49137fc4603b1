"""What every error of docvault has: a status, a code, a title and a detail (RFC 9457)."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class ErrorDetail:
    """One invalid value and its location.

    `pointer` is an RFC 6901 JSON pointer into the body, `parameter` the name of a query
    parameter, path parameter or header; at most one of them is set. `params` has what a
    translation of `code` needs.
    """

    code: str
    detail: str
    pointer: str | None = None
    parameter: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)


def escape_pointer(segment: str) -> str:
    """Return a key as a segment of a JSON pointer (RFC 6901)."""
    return segment.replace("~", "~0").replace("/", "~1")


class DocvaultError(Exception):
    """Error

    The base of every error that clients see. A subclass without a code is a category and is
    never raised itself.
    """

    status: ClassVar[int]
    code: ClassVar[str]

    def __init__(
        self,
        detail: str | None = None,
        *,
        pointer: str | None = None,
        parameter: str | None = None,
        params: Mapping[str, Any] | None = None,
        errors: list[ErrorDetail] | None = None,
        members: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.detail = detail or self.default_detail()
        self.errors = errors or []
        if pointer is not None or parameter is not None:
            self.errors = [ErrorDetail(self.code, self.detail, pointer, parameter, params or {})]
        self.members = dict(members or {})
        self.headers = dict(headers or {})
        super().__init__(self.detail)

    @classmethod
    def title(cls) -> str:
        """Return the first line of the docstring."""
        return inspect.cleandoc(cls.__doc__ or "Error").partition("\n")[0]

    @classmethod
    def default_detail(cls) -> str:
        """Return the rest of the docstring, or the title as a sentence."""
        _, _, text = inspect.cleandoc(cls.__doc__ or "").partition("\n")
        return " ".join(text.split()) or f"{cls.title()}."
