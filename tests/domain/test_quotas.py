"""When a customer's quota is exceeded."""

import pytest

from docvault.domain.quotas import Excess, QuotaKind, StorageUsage, Usage, excess

QUOTA = StorageUsage(10, 1000)
NOTHING = StorageUsage(0, 0)


@pytest.mark.parametrize(
    ("used", "more", "measure"),
    [
        (StorageUsage(0, 0), StorageUsage(1, 1), None),
        (StorageUsage(9, 900), StorageUsage(1, 100), None),
        (StorageUsage(0, 0), StorageUsage(10, 1000), None),
        (StorageUsage(10, 10), StorageUsage(1, 1), QuotaKind.FILES),
        (StorageUsage(9, 10), StorageUsage(2, 2), QuotaKind.FILES),
        (StorageUsage(1, 901), StorageUsage(1, 100), QuotaKind.BYTES),
        (StorageUsage(0, 0), StorageUsage(1, 1001), QuotaKind.BYTES),
        (StorageUsage(10, 1000), StorageUsage(1, 1), QuotaKind.FILES),
    ],
)
def test_usage_up_to_quota_is_accepted(
    used: StorageUsage, more: StorageUsage, measure: QuotaKind | None
) -> None:
    found = excess(QUOTA, Usage(used, NOTHING), more)
    assert (found.kind if found else None) is measure


@pytest.mark.parametrize(
    ("waiting", "more", "expected"),
    [
        (StorageUsage(15, 1500), StorageUsage(5, 500), None),
        (StorageUsage(15, 0), StorageUsage(6, 1), Excess(QuotaKind.FILES, 20, 15, is_waiting=True)),
        (
            StorageUsage(1, 1500),
            StorageUsage(1, 501),
            Excess(QuotaKind.BYTES, 2000, 1500, is_waiting=True),
        ),
        (
            StorageUsage(20, 2000),
            StorageUsage(11, 1),
            Excess(QuotaKind.FILES, 10, 0, is_waiting=False),
        ),
    ],
)
def test_deleted_files_count_against_twice_the_quota(
    waiting: StorageUsage, more: StorageUsage, expected: Excess | None
) -> None:
    assert excess(QUOTA, Usage(NOTHING, waiting), more) == expected


@pytest.mark.parametrize("quota", [StorageUsage(0, 1000), StorageUsage(10, 0), StorageUsage(0, 0)])
def test_zero_means_unlimited(quota: StorageUsage) -> None:
    used = StorageUsage(
        0 if quota.files else 10**6,
        0 if quota.size_bytes else 10**12,
    )
    assert excess(quota, Usage(used, used), StorageUsage(1, 1)) is None
