"""When there is no more room for a customer."""

import pytest

from docvault.rules.quotas import Measure, Volume, exceeded

QUOTA = Volume(10, 1000)


@pytest.mark.parametrize(
    ("used", "more", "measure"),
    [
        (Volume(0, 0), Volume(1, 1), None),
        (Volume(9, 900), Volume(1, 100), None),
        (Volume(0, 0), Volume(10, 1000), None),
        (Volume(10, 10), Volume(1, 1), Measure.FILES),
        (Volume(9, 10), Volume(2, 2), Measure.FILES),
        (Volume(1, 901), Volume(1, 100), Measure.BYTES),
        (Volume(0, 0), Volume(1, 1001), Measure.BYTES),
        (Volume(10, 1000), Volume(1, 1), Measure.FILES),
    ],
)
def test_up_to_the_quota_there_is_room(used: Volume, more: Volume, measure: Measure | None) -> None:
    assert exceeded(QUOTA, used, more) is measure


@pytest.mark.parametrize("quota", [Volume(0, 1000), Volume(10, 0), Volume(0, 0)])
def test_zero_is_no_limit(quota: Volume) -> None:
    used = Volume(
        0 if quota.files else 10**6,
        0 if quota.size_bytes else 10**12,
    )
    assert exceeded(quota, used, Volume(1, 1)) is None
