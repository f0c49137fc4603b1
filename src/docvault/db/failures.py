"""Why the database cannot be used, without the names that messages contain."""

import psycopg

# What psycopg reports when the server is gone, restarting, overloaded, too slow, or not prepared
# for this role. Anything else (a constraint, a data error) is either handled where it is expected
# or a bug.
UNAVAILABLE = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.QueryCanceled,
    psycopg.errors.LockNotAvailable,
    psycopg.errors.ReadOnlySqlTransaction,
    psycopg.errors.InsufficientPrivilege,
    psycopg.errors.UndefinedTable,
)

# By the error's class, which does not depend on the language of the server's messages.
_CAUSES_BY_CLASS: dict[type[psycopg.Error], str] = {
    psycopg.errors.QueryCanceled: "a statement took too long",
    psycopg.errors.LockNotAvailable: "a lock was not available in time",
    psycopg.errors.ReadOnlySqlTransaction: "it is read-only",
    psycopg.errors.InsufficientPrivilege: "the role lacks a privilege",
    psycopg.errors.UndefinedTable: "its schema is missing or at another version",
    psycopg.errors.AdminShutdown: "it closed the connection",
}

# Parts of the messages of libpq, psycopg, poolers and the server, and what is shown instead: the
# messages contain the host, the user and the name of the database. The first match counts.
_CAUSES = (
    ("password authentication failed", "the password is wrong"),
    ("no password supplied", "a password is required"),
    ("authentication failed", "it refuses the credentials"),
    ("pg_hba.conf", "pg_hba.conf does not allow the connection"),
    ("certificate verify failed", "its certificate is not signed by a trusted authority"),
    ("does not match host name", "its certificate is for another host name"),
    ("root certificate file", "sslrootcert names no file"),
    ("does not support ssl", "it does not offer TLS"),
    ("ssl error", "TLS failed"),
    ("resolve host", "its host name is unknown"),
    ("translate host name", "its host name is unknown"),
    ("connection refused", "nothing listens at its address"),
    ("no route to host", "its network cannot be reached"),
    ("network is unreachable", "its network cannot be reached"),
    ("failed: invalid argument", "its network cannot be reached"),
    ("could not parse network address", "hostaddr of its URL is not an address"),
    ("definition of service", "service of its URL is in no service file"),
    ("no such file or directory", "there is no socket at its path"),
    ("unsupported startup parameter", "the connection pooler refuses a parameter of the URL"),
    ("pooling mode", "the connection pooler does not keep sessions"),
    ("no such user", "the user or database does not exist"),
    ("no such database", "the user or database does not exist"),
    ("query_wait_timeout", "no connections of the pooler are left"),
    ("no more connections allowed", "no connections are left"),
    ("connection slots", "no connections are left"),
    ("too many c", "no connections are left"),
    ("session is read-only", "no host accepts writes"),
    ("in hot standby mode", "no host accepts writes"),
    ("permission denied", "the role lacks a privilege"),
    ("does not exist", "the user or database does not exist"),
    ("starting up", "it is starting up"),
    ("shutting down", "it is shutting down"),
    ("invalid", "a parameter of its URL is invalid"),
    ("pool initialization incomplete", "it did not respond in time"),
    ("timeout", "it did not respond in time"),
    ("timed out", "it did not respond in time"),
    ("server closed the connection", "it closed the connection"),
    ("connection is lost", "it closed the connection"),
)


def failure_cause(error: BaseException) -> str | None:
    """Return why the database cannot be used, without any names; None if unknown."""
    for kind in type(error).__mro__:
        if kind in _CAUSES_BY_CLASS:
            return _CAUSES_BY_CLASS[kind]
    text = str(error).lower()
    return next((cause for part, cause in _CAUSES if part in text), None)


def describe_failure(error: BaseException | None) -> str:
    """Return the cause, or else only the kind of error: messages may quote a statement."""
    known = None if error is None else failure_cause(error)
    return known or f"{type(error).__name__} ({getattr(error, 'sqlstate', None)})"
