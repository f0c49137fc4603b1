"""The counts in the memory of a process."""

from pathlib import Path

import pytest

from docvault.auth.keyring import Keyring
from docvault.domain.rate_limits import MAX_WINDOWS, Limit
from docvault.errors import RateLimited
from docvault.services.rate_limits import RateLimits
from docvault.settings import Settings


def test_forged_credentials_do_not_evict_caller_counts(
    tmp_path: Path,
) -> None:
    settings = Settings(data_dir=tmp_path, customer_requests_per_minute=1)
    limits = RateLimits(settings, Keyring(b"s" * 32))
    limits.hit_local(Limit.CUSTOMER_REQUESTS, "c-1")
    for number in range(MAX_WINDOWS + 1):
        limits.hit_local(Limit.FAILED_CREDENTIALS, "credential", str(number))
    with pytest.raises(RateLimited):
        limits.hit_local(Limit.CUSTOMER_REQUESTS, "c-1")
