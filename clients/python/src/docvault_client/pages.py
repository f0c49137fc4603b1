"""Lists, through all their pages."""

from collections.abc import Callable, Iterator, Sequence
from typing import ParamSpec, Protocol, TypeVar, runtime_checkable

Item_co = TypeVar("Item_co", covariant=True)
Item = TypeVar("Item")
Parameters = ParamSpec("Parameters")


class Page(Protocol[Item_co]):
    """A page of any list."""

    @property
    def items(self) -> Sequence[Item_co]:
        """The items of this page."""

    @property
    def next_cursor(self) -> str | None:
        """Where the next page starts; none after the last page."""


@runtime_checkable
class Problem(Protocol):
    """An error response."""

    @property
    def code(self) -> str:
        """The kind of problem."""

    @property
    def detail(self) -> str:
        """What is wrong."""


class ProblemError(Exception):
    """The service responded with a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.code}: {problem.detail}")
        self.problem = problem


def follow(
    operation: Callable[Parameters, Page[Item] | Problem | None],
    *args: Parameters.args,
    **kwargs: Parameters.kwargs,
) -> Iterator[Item]:
    """Yield the items of a list: `follow(customer.list_documents.sync, client=client)`.

    Raises:
        ProblemError: The service responded with a problem.
    """
    while True:
        page = operation(*args, **kwargs)
        if page is None:
            raise LookupError("The response has no page.")
        if isinstance(page, Problem):
            raise ProblemError(page)
        yield from page.items
        if page.next_cursor is None:
            return
        kwargs["cursor"] = page.next_cursor
