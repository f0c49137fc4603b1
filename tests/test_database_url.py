"""The URL of the database, as libpq reads it."""

import re
from pathlib import Path

import pytest

from docvault.database_url import parse_database_url, split_options, trust_authority


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@h:5433/d",
        "postgres://u:p@h:5433/d",
        "postgresql+psycopg://u:p@h:5433/d",
        "postgresql+asyncpg://u:p@h:5433/d",
    ],
)
def test_driver_is_ignored(url: str) -> None:
    assert parse_database_url(url) == {
        "user": "u",
        "password": "p",
        "host": "h",
        "port": "5433",
        "dbname": "d",
    }


def test_escapes_are_decoded() -> None:
    parameters = parse_database_url("postgresql://u:p%40%2F%3A@h/d?sslmode=require")
    assert (parameters["password"], parameters["sslmode"]) == ("p@/:", "require")


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        (
            "postgresql://one:5432,two:5433/d?target_session_attrs=read-write",
            "one,two",
            "5432,5433",
        ),
        ("postgresql:///d?host=one,two&port=5433", "one,two", "5433"),
        ("postgresql://[::1]:5433,two:5433/d", "::1,two", "5433,5433"),
    ],
)
def test_several_hosts_are_accepted(url: str, host: str, port: str) -> None:
    parameters = parse_database_url(url)
    assert (parameters["host"], parameters["port"]) == (host, port)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("canary", "postgresql://"),
        ("host=db password=canary", "postgresql://"),
        ("mysql://u:canary@h/d", "PostgreSQL"),
        ("postgresql://u:canary%zz@h/d", "postgresql://"),
        ("postgresql://u:canary@h:54a/d", "port"),
        ("postgresql://u:canary@h:0/d", "port"),
        ("postgresql://u:canary@h:65536/d", "port"),
        ("postgresql://u:canary@one,two/d?port=1,2,3", "one for each host"),
        ("postgresql://u@h/d?passwort=canary", "parameter"),
        ("postgresql://u:canary@h/d?host=one&host=two", "one,two"),
        ("postgresql://u:canary@h/d?sslmode=on", "verify-full"),
        ("postgresql://u:canary@h/d?target_session_attrs=writable", "read-write"),
        ("postgresql://u:canary@h/d?connect_timeout=soon", "number"),
        ("postgresql://u:canary@h/d?keepalives_idle=x", "keepalives_idle"),
        ("postgresql://u:canary@h/d?channel_binding=x", "require"),
        ("postgresql://u:canary@h/d?gssencmode=x", "require"),
        ("postgresql://u:canary@h/d?sslrootcert=/canary", "sslrootcert"),
        ("postgresql://u:canary@h/d?options=-d3", "search_path"),
        ("postgresql://u:canary@h/d?options=-csearch_path=app", "%3D"),
    ],
)
def test_invalid_url_is_refused_without_quoting_it(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)) as caught:
        parse_database_url(url)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        ("-csearch_path=app", {"search_path": "app"}),
        (
            " -c search_path=app,public  --work-mem=5MB ",
            {"search_path": "app,public", "work_mem": "5MB"},
        ),
        (r"-c\ x", None),
        (r"-c search_path=two\ words\\", {"search_path": "two words\\"}),
    ],
)
def test_options_become_settings(options: str, settings: dict[str, str] | None) -> None:
    if settings is None:
        with pytest.raises(ValueError, match="options"):
            split_options({"options": options})
    else:
        assert split_options({"dbname": "d", "options": options}) == ({"dbname": "d"}, settings)


@pytest.mark.parametrize(
    ("query", "is_added"),
    [
        ("", False),
        ("?sslmode=require", False),
        ("?sslmode=verify-full", True),
        ("?sslmode=verify-ca", True),
        ("?sslmode=verify-full&sslrootcert=system", False),
    ],
)
def test_authority_is_added_where_server_is_verified(query: str, is_added: bool) -> None:
    url = trust_authority(f"postgresql://h/d{query}", Path("/a file.pem"))
    assert url.endswith("&sslrootcert=/a%20file.pem") == is_added
