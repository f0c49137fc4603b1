"""What led to an exception."""

from collections.abc import Iterator


def list_causes(error: BaseException) -> Iterator[BaseException]:
    """Return an exception and what led to it; HTTP clients wrap it several times."""
    yield error
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from list_causes(one)
    inner = error.__cause__ or error.__context__
    if inner is not None:
        yield from list_causes(inner)
