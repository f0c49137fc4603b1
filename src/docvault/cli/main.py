"""The command line: its commands and options.

Each command imports what it needs when it is called, so that `--help` and `token` start quickly.
"""

import gc
from pathlib import Path
from typing import Annotated

import typer

from docvault.domain.scopes import Scope

app = typer.Typer(
    help="A service through which a company collects documents from its customers.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
token_app = typer.Typer(help="Tokens for trying docvault out, signed with the local key.")
api_key_app = typer.Typer(help="API keys of third-party systems.")
erasures_app = typer.Typer(help="Erasures after a backup was restored.")
app.add_typer(token_app, name="token")
app.add_typer(api_key_app, name="api-key")
app.add_typer(erasures_app, name="erasures")
events_app = typer.Typer(help="The event log after a backup was restored.")
app.add_typer(events_app, name="events")

_CustomerId = Annotated[str, typer.Argument(help="The customer's id in the host application.")]
_Folder = Annotated[Path, typer.Argument(help="The folder of the backup.")]
# The supervisor adds these to the command lines of its processes.
_SupervisorOption = Annotated[
    int | None, typer.Option("--supervisor", hidden=True, help="Exit when this process has died.")
]
_HeartbeatOption = Annotated[
    int | None, typer.Option("--heartbeat", hidden=True, help="Descriptor to write heartbeats to.")
]
_CheckedOption = Annotated[
    int | None, typer.Option("--checked", hidden=True, help="Check for this many processes.")
]
_ReplacesOption = Annotated[
    str | None, typer.Option("--replaces", hidden=True, help="Why the previous process ended.")
]


def main() -> None:
    """Run the command line; print an expected failure in one line and exit with status 1."""
    try:
        app()
    except Exception as error:
        from docvault.cli.failures import explain

        explanation = explain(error)
        if explanation is None:
            raise
        typer.echo(f"docvault: {explanation}", err=True)
        raise SystemExit(1) from None


@app.command("serve")
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for a free one.")] = 8000,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Number of API processes.")] = 1,
) -> None:
    """Serve the API. Without DOCVAULT_DATABASE_URL, also run PostgreSQL and the job worker."""
    from docvault.cli.serve import serve_api

    serve_api(host, port, workers)


@app.command("serve-process", hidden=True)
def serve_process(
    descriptor: int,
    supervisor: _SupervisorOption = None,
    heartbeat: _HeartbeatOption = None,
    checked: _CheckedOption = None,
    replaces: _ReplacesOption = None,
) -> None:
    """Serve on a socket opened by the supervisor."""
    from docvault.cli.serve import begin_supervised, serve_on_socket

    begin_supervised(supervisor, replaces)
    # A process that replaces another one would find the same.
    serve_on_socket(descriptor, heartbeat, None if replaces else checked)


@app.command("worker")
def worker(
    supervised: Annotated[
        bool, typer.Option(help="Restart the worker if it dies or its event loop hangs.")
    ] = False,
    supervisor: _SupervisorOption = None,
    heartbeat: _HeartbeatOption = None,
    checked: _CheckedOption = None,
    replaces: _ReplacesOption = None,
) -> None:
    """Run jobs: deletions, erasures, previews, clean-up. Any number can run beside the API."""
    from docvault.cli.serve import begin_supervised, run_jobs, supervise_worker

    if supervised:
        supervise_worker()
        return
    begin_supervised(supervisor, replaces)
    run_jobs(heartbeat, checked=supervisor is None or (checked is not None and not replaces))


@app.command("migrate")
def migrate() -> None:
    """Migrate the database to this version's schema; safe to repeat and to run concurrently."""
    from docvault.cli.admin import migrate_database

    migrate_database()


@app.command("bucket")
def bucket() -> None:
    """Create the bucket of DOCVAULT_STORAGE_URL unless it exists."""
    from docvault.cli.admin import create_store_bucket

    create_store_bucket()


@token_app.callback()
def _disable_collector() -> None:
    # Imports are most of these commands and leave nothing to collect: 12 % less CPU.
    gc.disable()


@token_app.command("admin")
def token_admin(
    subject: Annotated[str, typer.Option(help="Who the token identifies.")] = "admin",
) -> None:
    """Print a token for staff on the last line."""
    from docvault.cli.tokens import create_admin_token

    typer.echo(create_admin_token(subject))


@token_app.command("auditor")
def token_auditor(
    subject: Annotated[str, typer.Option(help="Who the token identifies.")] = "auditor",
) -> None:
    """Print a token that can only read events and audit events on the last line."""
    from docvault.cli.tokens import create_auditor_token

    typer.echo(create_auditor_token(subject))


@token_app.command("customer")
def token_customer(customer_id: _CustomerId) -> None:
    """Print a token for a customer on the last line."""
    from docvault.cli.tokens import create_customer_token

    typer.echo(create_customer_token(customer_id))


@app.command("demo")
def demo(
    url: Annotated[str, typer.Option(help="The running service.")] = "http://127.0.0.1:8000",
) -> None:
    """Fill a service that runs locally with an example company; print tokens to look around."""
    from docvault.cli.demo.report import print_demo

    print_demo(url)


@api_key_app.command("create")
def api_key_create(
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scope: Annotated[list[Scope], typer.Option(help="A scope of the key; can be repeated.")],
) -> None:
    """Create an API key and print it on the last line; it cannot be shown again."""
    from docvault.cli.admin import create_key

    typer.echo(create_key(name, scope))


@app.command("backup")
def backup(folder: _Folder) -> None:
    """Create or update a backup of database, files, ledger and keys, even while docvault runs."""
    from docvault.cli.backup import make_backup

    typer.echo(make_backup(folder))


@app.command("restore")
def restore(folder: _Folder) -> None:
    """Restore a backup into an empty database and store, and verify the result."""
    from docvault.cli.backup import restore_backup

    typer.echo(restore_backup(folder))


@app.command("erase")
def erase(customer_id: _CustomerId) -> None:
    """Erase a customer with all documents; print the id of the erasure."""
    from docvault.cli.admin import erase_by_id

    typer.echo(erase_by_id(customer_id))


@events_app.command("new-log")
def events_new_log() -> None:
    """Begin a new event log after a restore with other tools; followers of the feed start again."""
    from docvault.cli.resources import run
    from docvault.services.event_log import begin_log

    run(begin_log)


@erasures_app.command("reapply")
def erasures_reapply() -> None:
    """Restart every erasure that a restored backup has undone; print how many.

    The worker completes them.
    """
    from docvault.cli.admin import reapply

    typer.echo(reapply())


@app.command("openapi")
def openapi(
    check: Annotated[bool, typer.Option(help="Only check whether the files are current.")] = False,
    directory: Annotated[Path, typer.Option(help="The folder of the files.")] = Path("openapi"),
) -> None:
    """Write the OpenAPI documents, or check that they are current."""
    from docvault.cli.openapi import write_openapi_documents

    write_openapi_documents(directory, check=check)


@app.command("doctor")
def doctor() -> None:
    """Check the deployment and say what to do; exit with status 1 if something is wrong.

    Writes and deletes one small object in the store.
    """
    from docvault.cli.doctor import print_diagnosis

    if not print_diagnosis():
        raise SystemExit(1)


@app.command("verify")
def verify(
    rehash: Annotated[bool, typer.Option(help="Read and hash all stored bytes.")] = False,
) -> None:
    """Compare the database with the stored files; exit with status 1 if they differ."""
    from docvault.cli.verify import print_findings

    if not print_findings(rehash=rehash):
        raise SystemExit(1)
