"""Where the cluster of a data directory is, and which account it belongs to."""

import hashlib
import logging
import os
import pwd
from contextlib import suppress
from pathlib import Path

from docvault.embedded.postgres import programs
from docvault.embedded.postgres.account import Account, EmbeddedPostgresError

log = logging.getLogger(__name__)


def choose_home(place: Path) -> tuple[Account, Path]:
    """Return the server's account and the cluster's folder.

    The folder is `place`, unless docvault runs as root and the account cannot enter it.
    """
    if os.geteuid() != 0:
        return _check_own_account(place), place
    home = _find_existing_home(place)
    account = choose_server_account(home or place)
    if home is None:
        home = place if account.can_enter(place.parent) else _create_shared_home(place, account)
    if not account.can_enter(home.parent):
        raise EmbeddedPostgresError(
            f"PostgreSQL does not run as root, and the account {account.name} "
            f"cannot enter {home.parent}, where its cluster is."
        )
    return account, home


def has_cluster(home: Path) -> bool:
    """Check whether a cluster was created completely."""
    return (home / "data" / "PG_VERSION").exists()


def record_location(place: Path, home: Path) -> None:
    """Record in `place` that the cluster is in `home`."""
    place.mkdir(mode=0o700, exist_ok=True)
    new = place / "location.new"
    new.write_text(f"{home}\n")
    new.replace(place / "location")
    sync_directory(place)


def sync_directory(directory: Path) -> None:
    """Make new and renamed entries of a directory survive a power failure."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_own_account(place: Path) -> Account:
    account = Account.of(os.geteuid())
    if place.exists() and place.stat().st_uid != account.uid:
        raise EmbeddedPostgresError(
            f"{place} belongs to user id {place.stat().st_uid}, not to {account.name}: "
            "run docvault as the account that created it, or as root if root did."
        )
    return account


def choose_server_account(home: Path) -> Account:
    """Return the account to run the server as, when docvault itself runs as root."""
    # An existing cluster keeps its account, even if another one would be chosen today.
    if home.exists() and home.stat().st_uid != 0:
        return Account.of(home.stat().st_uid)
    with suppress(KeyError):
        return Account.of(pwd.getpwnam("postgres").pw_uid)
    with suppress(KeyError):
        account = Account.of(pwd.getpwnam("nobody").pw_uid)
        log.warning(
            "There is no account postgres, so the database belongs to the account nobody, and "
            "every program that runs as nobody can read it: create an account postgres, or run "
            "docvault as an account of its own, before it holds real documents."
        )
        return account
    raise EmbeddedPostgresError(
        "PostgreSQL does not run as root, and there is no account postgres or nobody: "
        "run docvault as another account."
    )


def _find_existing_home(place: Path) -> Path | None:
    """Return where root's cluster of this data directory is, or None if there is none yet."""
    if has_cluster(place):
        return place
    recorded = place / "location"
    if recorded.exists():
        home = Path(recorded.read_text().strip())
        if has_cluster(home):
            return home
        raise EmbeddedPostgresError(
            f"According to {recorded} the cluster is in {home}, but it is not there. "
            f"Restore it, or delete {recorded} to start with an empty database."
        )
    shared = _shared_home(place)
    return shared if has_cluster(shared) else None


def _shared_home(place: Path) -> Path:
    return programs.SHARED_DIRECTORY / hashlib.sha256(os.fsencode(place)).hexdigest()[:16]


def _create_shared_home(place: Path, account: Account) -> Path:
    programs.create_shared_directory()
    home = _shared_home(place)
    log.warning(
        "The account %s cannot enter %s, so the database is kept in %s: include it in backups.",
        account.name,
        place.parent,
        home,
    )
    return home
