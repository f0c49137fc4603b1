"""Failures of commands that are explained in one line instead of a traceback."""

import os
from collections.abc import Callable

from pydantic import ValidationError
from pydantic_settings import SettingsError as UnreadableSetting

from docvault.errors import DocvaultError
from docvault.settings import SECRETS_DIR, Settings, SettingsError, variable_of


class CommandFailed(Exception):
    """An expected failure of a command; the message is for the user."""


def explain(error: Exception) -> str | None:
    """Return the explanation of an expected failure, or None for a bug."""
    # Slow to import, and needed only when something has failed.
    from psycopg import OperationalError as DriverError
    from psycopg_pool import PoolTimeout
    from sqlalchemy.exc import OperationalError

    from docvault.db.failures import failure_cause
    from docvault.db.sessions import UnsuitableDatabase
    from docvault.embedded.lock import DataDirInUse
    from docvault.embedded.postgres import EmbeddedPostgresError

    match error:
        case (
            CommandFailed()
            | DataDirInUse()
            | EmbeddedPostgresError()
            | SettingsError()
            | UnsuitableDatabase()
            | DocvaultError()
        ):
            return str(error)
        case OperationalError() | DriverError() | PoolTimeout():
            return _append_cause("the database does not respond", failure_cause(error))
        case UnreadableSetting():
            # The message names the setting; its cause could quote the file.
            cause = getattr(error.__cause__, "strerror", None)
            return _append_cause(f"invalid settings: {error}", cause)
        case ValidationError(title=Settings.__name__):
            return f"invalid settings: {_list_problems(error, _place_of)}"
        case ValidationError():
            return f"invalid input: {_list_problems(error, str)}"
    return None


def _place_of(field: str) -> str:
    """Return the variable of a setting, or the file if the setting is in one."""
    variable = variable_of(field)
    names = {name.upper() for name, value in os.environ.items() if value}
    file = SECRETS_DIR / variable.lower()
    return variable if variable in names or not file.exists() else f"{variable} in {file}"


def _append_cause(text: str, cause: str | None) -> str:
    return f"{text}: {cause}" if cause else text


def _list_problems(error: ValidationError, name_of: Callable[[str], str]) -> str:
    """List the invalid fields; pydantic's own message would quote values, which may be secrets."""
    return "; ".join(
        # A rule about several settings has no location; its message names them.
        ": ".join([*map(name_of, map(str, item["loc"][:1])), _strip_prefix(item["msg"])])
        for item in error.errors()
    )


def _strip_prefix(message: str) -> str:
    return message.removeprefix("Value error, ")
