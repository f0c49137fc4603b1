"""Failures of commands that are explained in one line instead of a traceback."""

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_settings import SettingsError as UnreadableSetting

from docvault.errors import DocvaultError
from docvault.settings import SECRETS_DIR, Settings, SettingsError, variable_of

if TYPE_CHECKING:
    from botocore.exceptions import BotoCoreError


class CommandFailed(Exception):
    """An expected failure of a command; the message is for the user."""


def explain(error: Exception) -> str | None:
    """Return the explanation of an expected failure, or None for a bug."""
    # Slow to import, and needed only when something has failed.
    from botocore.exceptions import BotoCoreError
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
            return _append_cause(f"{_name_database()} does not respond", failure_cause(error))
        case ValidationError() if error.title != Settings.__name__:
            return f"invalid input: {_list_problems(error, str, _say_problem)}"
        case BotoCoreError() | UnreadableSetting() | ValidationError():
            return f"invalid settings: {_explain_settings(error)}"
    return None


def _explain_settings(error: "BotoCoreError | UnreadableSetting | ValidationError") -> str:
    match error:
        case ValidationError():
            return _list_problems(error, _place_of, _say_allowed)
        case UnreadableSetting():
            # The message names the setting; its cause could quote the file.
            return _append_cause(str(error), getattr(error.__cause__, "strerror", None))
        case _:
            # Of its variables and files, such as a profile that is not there.
            return f"AWS_…: {str(error).splitlines()[0]}"


def _name_database() -> str:
    """Return the database with the place of its URL, if it has one."""
    place = _find_place("database_url")
    return f"the database of {place}" if place else "the database"


def _place_of(field: str) -> str:
    """Return the variable of a setting, or the file if the setting is in one."""
    return _find_place(field) or variable_of(field)


def _find_place(field: str) -> str | None:
    variable = variable_of(field)
    if variable in {name.upper() for name, value in os.environ.items() if value}:
        return variable
    file = SECRETS_DIR / variable.lower()
    return f"{variable} in {file}" if file.exists() else None


def _append_cause(text: str, cause: str | None) -> str:
    return f"{text}: {cause}" if cause else text


def _list_problems(
    error: ValidationError,
    name_of: Callable[[str], str],
    describe: Callable[[Mapping[str, Any]], str],
) -> str:
    """List the invalid fields; pydantic's own message would quote values, which may be secrets."""
    return "; ".join(
        # A rule about several settings has no location; its message names them.
        ": ".join([*map(name_of, map(str, item["loc"][:1])), describe(item)])
        for item in error.errors()
    )


def _say_allowed(problem: Mapping[str, Any]) -> str:
    """Return what a setting may be."""
    context = problem.get("ctx", {})
    match problem["type"]:
        case "bool_parsing":
            said = "must be true or false"
        case "literal_error":
            said = f"must be {context['expected']}"
        case "string_too_long":
            said = f"must have at most {context['max_length']} characters"
        case "string_unicode":
            said = "must be UTF-8"
        case "too_short" | "string_too_short":
            said = "must not be empty"
        case _:
            said = _say_range(problem) or _say_problem(problem)
    return said


def _say_range(problem: Mapping[str, Any]) -> str | None:
    """Return which numbers a setting may be; None unless it is a number."""
    if not problem["loc"]:
        return None
    field = Settings.model_fields[str(problem["loc"][0])]
    least, above, most = (
        next((getattr(one, name) for one in field.metadata if hasattr(one, name)), None)
        for name in ("ge", "gt", "le")
    )
    if most is None:
        return None
    number = "a whole number" if field.annotation is int else "a number"
    start = f"above {above} and" if least is None else f"from {least}"
    return f"must be {number} {start} up to {most}"


def _say_problem(problem: Mapping[str, Any]) -> str:
    message: str = problem["msg"]
    return message.removeprefix("Value error, ")
