"""Ids of customers."""

import pytest

from docvault.domain.customer_ids import check_customer_id, is_customer_id
from docvault.errors import ValidationFailed


@pytest.mark.parametrize("value", ["c-1042", "a" * 128, "user@example.org", "..x", "~:|+="])
def test_valid_id_is_accepted(value: str) -> None:
    assert is_customer_id(value)
    check_customer_id(value)


@pytest.mark.parametrize("value", ["", ".", "..", "a" * 129, "a/b", "a b", "é", "a\n"])
def test_invalid_id_is_rejected(value: str) -> None:
    assert not is_customer_id(value)
    with pytest.raises(ValidationFailed):
        check_customer_id(value)
