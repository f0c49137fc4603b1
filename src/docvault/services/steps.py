"""Independent steps: one that fails does not stop the others."""

import logging
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

Step = Callable[[], Awaitable[object]]


async def attempt_all(*steps: Step, failure: str) -> None:
    """Take every step, and log each that fails; raise the first error at the end."""
    errors = []
    for step in steps:
        try:
            await step()
        except Exception as error:
            log.warning(failure, exc_info=error)
            errors.append(error)
    if errors:
        raise errors[0]
