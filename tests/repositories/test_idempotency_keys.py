"""Claims of idempotency keys."""

import pytest

from docvault.db.tables import new_id
from docvault.domain.idempotency import StoredResponse
from docvault.repositories.idempotency_keys import Completion, KeyHolder
from docvault.repositories.unit_of_work import UnitOfWork

KEY = b"key"
HOLDER = KeyHolder(b"caller", max_keys=2)
RESPONSE = StoredResponse(b"fingerprint", 201, {}, b"{}")


async def test_release_with_other_token_keeps_claim(uow: UnitOfWork) -> None:
    token = await uow.idempotency_keys.claim(KEY, None, HOLDER)
    assert token is not None
    await uow.idempotency_keys.release(KEY, new_id())
    assert await uow.idempotency_keys.claim(KEY, None, HOLDER) is None
    await uow.idempotency_keys.release(KEY, token)
    assert await uow.idempotency_keys.claim(KEY, None, HOLDER) is not None


async def test_release_keeps_stored_response(uow: UnitOfWork) -> None:
    token = await uow.idempotency_keys.claim(KEY, None, HOLDER)
    assert token is not None
    assert await uow.idempotency_keys.complete(Completion(KEY, token, RESPONSE, None))
    await uow.idempotency_keys.release(KEY, token)
    assert await uow.idempotency_keys.response(KEY) == RESPONSE


@pytest.mark.req("B-035")
async def test_claims_are_limited_per_holder(uow: UnitOfWork) -> None:
    keys = uow.idempotency_keys
    for key in (b"1", b"2"):
        assert await keys.seconds_until_room(HOLDER) is None
        assert await keys.claim(key, None, HOLDER) is not None
    assert await keys.claim(b"3", None, HOLDER) is None
    assert await keys.response(b"3") is None
    seconds = await keys.seconds_until_room(HOLDER)
    assert seconds is not None
    assert 86_000 < seconds <= 86_400
    assert await keys.claim(b"3", None, KeyHolder(b"other", max_keys=2)) is not None
