"""Steps that do not depend on each other."""

from functools import partial

import pytest

from docvault.services.steps import attempt_all


@pytest.mark.req("B-213")
@pytest.mark.parametrize("failing", range(3))
async def test_every_other_step_is_taken(failing: int, caplog: pytest.LogCaptureFixture) -> None:
    taken = []

    async def step(number: int) -> None:
        if number == failing:
            raise ValueError(number)
        taken.append(number)

    with pytest.raises(ValueError, match=str(failing)):
        await attempt_all(*(partial(step, number) for number in range(3)), failure="it failed")
    assert taken == [number for number in range(3) if number != failing]
    assert caplog.messages == ["it failed"]


async def test_first_of_several_errors_is_raised(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(text: str) -> None:
        raise ValueError(text)

    with pytest.raises(ValueError, match="one"):
        await attempt_all(partial(fail, "one"), partial(fail, "two"), failure="it failed")
    assert len(caplog.records) == 2
