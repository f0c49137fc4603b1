"""The command line."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
import uuid_utils.compat
from psycopg_pool import PoolTimeout
from pydantic import ValidationError
from pydantic_settings import SettingsError as UnreadableSetting
from rich.progress import Progress
from sqlalchemy.exc import OperationalError

from docvault.announcement import announcement
from docvault.api.contract import AUDIENCES, audience_contract, whole_contract
from docvault.api.parameters import check_customer_id
from docvault.app import create_app
from docvault.auth.keyring import secret_key
from docvault.auth.local_tokens import LocalIssuer
from docvault.auth.principals import Access, System
from docvault.auth.scopes import Scope
from docvault.database import failure_cause
from docvault.embedded.deployment import (
    borrowed_database,
    exclusive_data_dir,
    has_database,
    running_database,
)
from docvault.embedded.lock import DataDirInUse
from docvault.embedded.postgres import EmbeddedPostgresError
from docvault.errors import DocvaultError, ValidationFailed
from docvault.jobs.worker import run_worker, settle_leftovers
from docvault.logs import configure_logging
from docvault.migrations import migrate
from docvault.repositories.blobs import BlobPlace
from docvault.schemas.api_keys import ApiKeyCreate
from docvault.server import application, listen, serve
from docvault.services.api_keys import create_api_key
from docvault.services.customers import find_any_customer
from docvault.services.erasures import erase_customer, reapply_erasures
from docvault.services.resources import Resources
from docvault.services.verification import Findings, count_stored_blobs, places_of, verify
from docvault.services.work import Asker, Work
from docvault.settings import Settings, SettingsError, variable_of
from docvault.shared_metrics import SHARED_DIR, shared_folder
from docvault.startup import metrics_served, open_resources
from docvault.supervisor import Supervisor, end_with

app = typer.Typer(
    help="A service through which a company collects documents from its customers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
token_app = typer.Typer(help="Tokens for trying docvault out, signed with the local key.")
api_key_app = typer.Typer(help="Keys of third-party systems.")
erasures_app = typer.Typer(help="Erasures, after a backup was restored.")
app.add_typer(token_app, name="token")
app.add_typer(api_key_app, name="api-key")
app.add_typer(erasures_app, name="erasures")

_Result = TypeVar("_Result")


def main() -> None:
    """Run the command line; a failure that has an explanation ends with it and exit status 1."""
    try:
        app()
    except (DataDirInUse, EmbeddedPostgresError, SettingsError, DocvaultError) as error:
        _fail(str(error))
    except (OperationalError, PoolTimeout) as error:
        cause = failure_cause(error)
        _fail("the database does not answer" + (f": {cause}" if cause else ""))
    except UnreadableSetting as error:
        # It names the setting; its cause could quote the file.
        cause = getattr(error.__cause__, "strerror", None)
        _fail(f"the settings are not usable: {error}" + (f": {cause}" if cause else ""))
    except ValidationError as error:
        is_settings = error.title == Settings.__name__
        what = "the settings are" if is_settings else "this is"
        _fail(f"{what} not usable: {_problems(error, variable_of if is_settings else str)}")


def _problems(error: ValidationError, name_of: Callable[[str], str]) -> str:
    """Return what is wrong where; pydantic would quote the values, which may be secrets."""
    return "; ".join(
        # A rule about several settings has no place; its message names them.
        ": ".join([*map(name_of, map(str, item["loc"][:1])), _message(item["msg"])])
        for item in error.errors()
    )


def _message(text: str) -> str:
    return text.removeprefix("Value error, ")


def _fail(message: str) -> NoReturn:
    typer.echo(f"docvault: {message}", err=True)
    raise SystemExit(1)


@app.command("serve")
def serve_command(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="API processes.")] = 1,
) -> None:
    """Serve the API; without a database of your own also PostgreSQL and the worker."""
    settings = Settings()
    configure_logging(settings.log_level)
    # The data directory before the port: a second start on the same data should hear of that.
    with (
        stops_on_sigterm(),
        exclusive_data_dir(settings),
        _listener(host, port) as listener,
        running_database(settings) as url,
    ):
        migrate(url)
        address = f"http://{_shown_host(host)}:{listener.getsockname()[1]}"
        started = _serve(settings, url, listener, workers, announcement(settings, address))
    if not started:
        raise SystemExit(1)


def _listener(host: str, port: int) -> socket.socket:
    try:
        return listen(host, port)
    except OSError as error:
        _fail(f"cannot listen on {host} port {port}: {error.strerror}; try --port")


def _serve(
    settings: Settings, url: str, listener: socket.socket, workers: int, greeting: str
) -> bool:
    asyncio.run(_prepare(settings, url, settles=workers > 1 and settings.works_inside))
    if workers > 1:
        _supervise(settings, url, listener, workers, greeting)
        return True
    api = application(settings, url, with_worker=settings.works_inside)
    return serve(api, listener, trusted_proxies=settings.trusted_proxies, announcement=greeting)


async def _prepare(settings: Settings, url: str, *, settles: bool) -> None:
    """Open everything once, so that what cannot be opened is told before anybody serves.

    Inside the server it would be a line in the log, and with several processes one again and again.
    """
    async with open_resources(settings, url) as resources:
        if settles:
            await settle_leftovers(url, resources)


def _supervise(
    settings: Settings, url: str, listener: socket.socket, workers: int, greeting: str
) -> None:
    """Run several API processes on one socket, and the worker when it belongs inside."""
    supervised = ["--supervisor", str(os.getpid())]
    serving = [["serve-process", str(listener.fileno()), *supervised]] * workers
    others = [["worker", *supervised]] if settings.works_inside else []
    environment = {
        "DOCVAULT_DATABASE_URL": url,
        "DOCVAULT_SECRET_KEY": secret_key(settings),
        "DOCVAULT_STORAGE_URL": settings.effective_storage_url,
    }
    typer.echo(greeting)
    with ExitStack() as stack:
        if settings.metrics_bind is not None:
            environment[SHARED_DIR] = str(stack.enter_context(shared_folder()))
        Supervisor(serving, others, environment, listener).run()


@app.command("serve-process", hidden=True)
def serve_process_command(
    descriptor: int, supervisor: Annotated[int, typer.Option(help="Ends with this process.")]
) -> None:
    """Serve on a socket that the supervising process has opened."""
    end_with(supervisor)
    settings = Settings()
    configure_logging(settings.log_level)
    if settings.database_url is None:
        _fail("this command is for `docvault serve` to use")
    listener = socket.socket(fileno=descriptor)
    url = settings.database_url.get_secret_value()
    api = application(settings, url, with_worker=False)
    if not serve(api, listener, trusted_proxies=settings.trusted_proxies):
        raise SystemExit(1)


@app.command("worker")
def worker_command(
    supervisor: Annotated[
        int | None, typer.Option(hidden=True, help="Ends with this process.")
    ] = None,
) -> None:
    """Do the jobs: delete, erase, render, reap. Run any number beside the API processes."""
    if supervisor is not None:
        end_with(supervisor)
    settings = Settings()
    configure_logging(settings.log_level)
    if settings.database_url is None:
        _fail("the worker needs DOCVAULT_DATABASE_URL; without it `serve` does the jobs itself")
    url = settings.database_url.get_secret_value()

    async def work() -> None:
        async with open_resources(settings, url) as resources, metrics_served(resources):
            await run_worker(url, resources)

    asyncio.run(work())


@app.command("migrate")
def migrate_command() -> None:
    """Bring the database to the form this version needs; safe to run twice and at once."""
    with borrowed_database(Settings()) as url:
        migrate(url)


@token_app.command("admin")
def token_admin(
    subject: Annotated[str, typer.Option(help="Who the token says you are.")] = "admin",
) -> None:
    """Print a token for staff on the last line."""
    if not subject.strip():
        _fail("the subject must not be empty")
    typer.echo(_local_issuer().admin_token(subject))


@token_app.command("customer")
def token_customer(customer_id: Annotated[str, typer.Argument(help="The host's own id.")]) -> None:
    """Print a token for a customer on the last line."""
    try:
        check_customer_id(customer_id)
    except ValidationFailed as error:
        _fail(error.detail)
    typer.echo(_local_issuer().customer_token(customer_id))


@api_key_app.command("create")
def api_key_create(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scope: Annotated[list[Scope], typer.Option(help="What the key may do; repeat for more.")],
) -> None:
    """Make an API key and print it on the last line; it is never shown again."""

    async def create(work: Work) -> str:
        _, key = await create_api_key(work, ApiKeyCreate(name=name, scopes=scope))
        return key

    typer.echo(_run_in_transaction(create))


@app.command("erase")
def erase_command(customer_id: Annotated[str, typer.Argument(help="The host's own id.")]) -> None:
    """Erase every trace of a customer's documents; print the id of the erasure."""

    async def erase(work: Work) -> str:
        customer = await find_any_customer(work.unit, customer_id)
        return str(await erase_customer(work, customer))

    typer.echo(_run_in_transaction(erase))


@erasures_app.command("reapply")
def erasures_reapply() -> None:
    """Begin again every erasure that a restored backup has undone; print how many.

    The worker does the rest.
    """

    async def reapply(resources: Resources) -> int:
        return await reapply_erasures(resources, _system(resources))

    typer.echo(_run(reapply))


@app.command("openapi")
def openapi_command(
    check: Annotated[bool, typer.Option(help="Only tell whether the files are current.")] = False,
    directory: Annotated[Path, typer.Option(help="Where the files are.")] = Path("openapi"),
) -> None:
    """Write the OpenAPI documents, or check that they are current."""
    whole = whole_contract(create_app())
    documents = {"openapi": whole} | {a: audience_contract(whole, a) for a in AUDIENCES}
    stale = []
    for name, document in documents.items():
        path = directory / f"{name}.json"
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        if not path.exists() or path.read_text() != text:
            stale.append(path)
            if not check:
                directory.mkdir(exist_ok=True)
                path.write_text(text)
    if check and stale:
        _fail(f"stale: {', '.join(map(str, stale))}; run `docvault openapi`")


@app.command("verify")
def verify_command(
    rehash: Annotated[bool, typer.Option(help="Read and hash every byte again.")] = False,
) -> None:
    """Compare every row with every stored file, both ways; exit status 1 when they differ."""

    async def check(resources: Resources) -> Findings:
        total = await count_stored_blobs(resources)
        with Progress(disable=not sys.stdout.isatty()) as bar:
            task = bar.add_task("verifying", total=total)
            findings = await verify(
                resources, rehash=rehash, progress=lambda steps: bar.advance(task, steps)
            )
        await _show_findings(resources, findings)
        return findings

    findings = _run(check)
    typer.echo(
        f"{findings.checked} checked, {len(findings.missing)} missing, "
        f"{len(findings.damaged)} damaged, {len(findings.orphaned)} orphaned, "
        f"{len(findings.unapplied)} erasures to reapply"
    )
    if not findings.is_clean:
        raise SystemExit(1)


async def _show_findings(resources: Resources, findings: Findings) -> None:
    """Print the key of each, and which document it is: on standard output, never in a log."""
    for label in ("missing", "damaged", "orphaned"):
        async for key, place in places_of(resources, getattr(findings, label)):
            typer.echo(f"{label}: {key}" + (f" ({_shown_place(place)})" if place else ""))
    for customer_id in findings.unapplied:
        typer.echo(f"to reapply: the erasure of customer {customer_id} (internal id)")


def _shown_place(place: BlobPlace) -> str:
    shown = (
        f"customer {place.customer_id}, document {place.document_type}, "
        f"version {place.version}, file {place.file}"
    )
    return f"{shown}, preview {place.preview}" if place.preview else shown


def _run(function: Callable[[Resources], Coroutine[Any, Any, _Result]]) -> _Result:
    settings = Settings()
    configure_logging("warning")
    if not has_database(settings):
        # Not a new and empty one, in which nothing is ever wrong.
        _fail(
            f"there is no database in {settings.data_dir}: `docvault serve` makes one there, "
            "DOCVAULT_DATABASE_URL names another, DOCVAULT_DATA_DIR another folder"
        )

    async def opened(url: str) -> _Result:
        async with open_resources(settings, url) as resources:
            return await function(resources)

    with borrowed_database(settings) as url:
        migrate(url)
        return asyncio.run(opened(url))


def _run_in_transaction(function: Callable[[Work], Coroutine[Any, Any, _Result]]) -> _Result:
    async def in_transaction(resources: Resources) -> _Result:
        async with resources.unit(Access.everyone()) as unit:
            return await function(_system(resources).work(unit))

    return _run(in_transaction)


def _system(resources: Resources) -> Asker:
    """Return who asks for what the command line does."""
    request_id = uuid_utils.compat.uuid7()
    return Asker(System(), request_id, resources.keyring, resources.settings)


def _local_issuer() -> LocalIssuer:
    settings = Settings()
    if settings.jwt_jwks_url is not None:
        _fail("tokens come from the identity provider of DOCVAULT_JWT_JWKS_URL")
    return LocalIssuer(settings)


@contextmanager
def stops_on_sigterm() -> Iterator[None]:
    """Make SIGTERM end the process in order also while it starts or stops PostgreSQL."""

    def stop(*_: object) -> None:
        raise SystemExit(0)

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(0) from None
    finally:
        signal.signal(signal.SIGTERM, previous)


def _shown_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
