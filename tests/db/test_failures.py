"""What is shown instead of the messages of a database that cannot be used."""

import psycopg
import pytest

from docvault.db.failures import failure_cause
from docvault.db.sessions import CONNECT_SECONDS
from docvault.embedded.postgres import EmbeddedPostgres


class TestFailureCause:
    """failure_cause()."""

    @pytest.mark.parametrize(
        ("url", "cause"),
        [
            ("postgresql://canary@127.0.0.1:1/canary", "nothing listens at its address"),
            ("postgresql://canary@canary.invalid/canary", "its host name is unknown"),
            ("postgresql://canary@/canary?host=/canary", "there is no socket at its path"),
        ],
    )
    def test_connection_failure_is_explained(self, url: str, cause: str) -> None:
        with pytest.raises(psycopg.OperationalError) as caught:
            psycopg.connect(url, connect_timeout=CONNECT_SECONDS)
        assert failure_cause(caught.value) == cause

    def test_missing_database_is_explained(self, postgres: EmbeddedPostgres) -> None:
        with pytest.raises(psycopg.OperationalError) as caught:
            psycopg.connect(postgres.url.replace("/docvault?", "/canary?"))
        assert failure_cause(caught.value) == "the user or database does not exist"

    def test_wrong_password_is_explained(self) -> None:
        # The test server requires no password. This message is the same in every version.
        words = 'FATAL:  password authentication failed for user "canary"'
        assert failure_cause(psycopg.OperationalError(words)) == "the password is wrong"

    def test_unknown_cause_is_none(self) -> None:
        assert failure_cause(psycopg.OperationalError("canary")) is None
