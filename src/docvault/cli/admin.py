"""`docvault migrate`, `bucket`, `api-key create`, `erase` and `erasures reapply`."""

from collections.abc import Sequence

from docvault.cli.failures import CommandFailed
from docvault.cli.resources import run, run_in_transaction
from docvault.db.migrate import migrate
from docvault.domain.scopes import Scope
from docvault.embedded.deployment import connect_or_start_database
from docvault.repositories.unit_of_work import UnitOfWork
from docvault.schemas.api_keys import ApiKeyCreate
from docvault.services.api_keys import create_api_key
from docvault.services.customers import find_any_customer
from docvault.services.erasures import erase_customer, reapply_erasures
from docvault.services.resources import Resources
from docvault.settings import Settings


def migrate_database() -> None:
    """Migrate the configured database, or the one in the data directory."""
    with connect_or_start_database(Settings()) as url:
        migrate(url)


def create_store_bucket() -> None:
    """Create the bucket of an S3-compatible store."""
    # boto is slow to import and not needed for the filesystem store.
    from docvault.storage.s3_bucket import create_bucket  # noqa: PLC0415

    settings = Settings()
    if not settings.effective_storage_url.startswith("s3:"):
        raise CommandFailed("DOCVAULT_STORAGE_URL must be like s3://bucket/prefix")
    create_bucket(settings)


def create_key(name: str, scopes: Sequence[Scope]) -> str:
    """Create an API key; return it in plain text."""

    async def create(uow: UnitOfWork) -> str:
        _, key = await create_api_key(uow, ApiKeyCreate(name=name, scopes=list(scopes)))
        return key

    return run_in_transaction(create)


def erase_by_id(customer_id: str) -> str:
    """Request the erasure of a customer; return the id of the erasure."""

    async def erase(uow: UnitOfWork) -> str:
        customer = await find_any_customer(uow, customer_id)
        return str(await erase_customer(uow, customer))

    return run_in_transaction(erase)


def reapply() -> int:
    """Restart the erasures that a restored backup has undone; return how many."""

    async def reapply_all(resources: Resources) -> int:
        return await reapply_erasures(resources)

    return run(reapply_all)
