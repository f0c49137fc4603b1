"""`docvault serve` and `docvault worker`, and the processes that they supervise.

A supervisor serves no request, and a worker neither: the application is imported where it is used,
which is half a second less until the supervised processes start.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial

import typer
from prometheus_client.multiprocess import mark_process_dead

from docvault.auth.keyring import secret_key
from docvault.cli.banner import startup_banner
from docvault.cli.failures import CommandFailed
from docvault.cli.folders import require_folders
from docvault.db.migrate import migrate
from docvault.embedded.deployment import exclusive_data_dir, running_database
from docvault.observability.logs import configure_logging
from docvault.observability.metrics import PROCESSES_REPLACED
from docvault.observability.multiprocess_metrics import DIRECTORY_VARIABLE, metrics_directory
from docvault.observability.tracing import check_tracing
from docvault.server.heartbeat import send_heartbeats
from docvault.server.listener import bind
from docvault.server.start_checks import require_database, surroundings_checked
from docvault.server.startup import metrics_server, open_resources
from docvault.server.supervisor import Supervisor, exit_when_parent_dies
from docvault.settings import Settings


def serve_api(host: str, port: int, workers: int) -> None:
    """Serve until stopped by a signal; raises `SystemExit` if the server does not start."""
    settings = Settings()
    configure_logging(settings.log_level)
    require_folders(settings)
    # The data directory before the port: a second start on the same data should report that.
    with (
        exit_on_signals(),
        exclusive_data_dir(settings),
        _bind(host, port) as listener,
        running_database(settings) as url,
    ):
        migrate(url)
        address = f"http://{_format_host(host)}:{listener.getsockname()[1]}"
        started = _serve(settings, url, listener, workers, startup_banner(settings, address))
    if not started:
        raise SystemExit(1)


def serve_on_socket(descriptor: int, heartbeat: int | None, checked: int | None) -> None:
    """Serve on the socket with this descriptor, as a process of the supervisor.

    `checked` is the number of processes whose surroundings this one checks, None for no check.
    """
    settings = Settings()
    configure_logging(settings.log_level)
    url = settings.external_database_url
    if url is None:
        raise CommandFailed("this command is only for `docvault serve`")
    from docvault.server.serve import create_served_app, run_server

    listener = socket.socket(fileno=descriptor)
    api = create_served_app(
        settings, url, with_worker=False, heartbeat=heartbeat, checked_processes=checked
    )
    if not run_server(api, listener, trusted_proxies=settings.trusted_proxies):
        raise SystemExit(1)


def supervise_worker() -> None:
    """Run a worker in a process of its own, which is replaced if it dies or hangs."""
    settings, url = _load_worker_settings()
    asyncio.run(_check_dependencies(settings, url))
    command = ["worker", "--supervisor", str(os.getpid()), "--checked", "1"]
    Supervisor([], [command], {}, None).run()


def run_jobs(heartbeat: int | None, *, checked: bool) -> None:
    """Run jobs in this process until stopped by a signal; check its surroundings if asked to."""
    from docvault.jobs.worker import run_worker

    settings, url = _load_worker_settings()

    async def work() -> None:
        async with (
            open_resources(settings, url) as resources,
            metrics_server(resources),
            send_heartbeats(heartbeat),
        ):
            await require_database(resources)
            checks = (
                surroundings_checked(resources, processes=1, is_worker=True)
                if checked
                else nullcontext()
            )
            async with checks:
                await run_worker(url, resources)

    asyncio.run(work())


def begin_supervised(supervisor: int | None, replaces: str | None) -> None:
    """Watch the supervisor, if there is one, and count a replaced process."""
    if supervisor is not None:
        exit_when_parent_dies(supervisor)
    if replaces is not None:
        PROCESSES_REPLACED.labels(replaces).inc()


def _load_worker_settings() -> tuple[Settings, str]:
    settings = Settings()
    configure_logging(settings.log_level)
    url = settings.external_database_url
    if url is None:
        raise CommandFailed(
            "the worker needs DOCVAULT_DATABASE_URL; without it, `docvault serve` runs the jobs"
        )
    require_folders(settings)
    return settings, url


def _bind(host: str, port: int) -> socket.socket:
    try:
        return bind(host, port)
    except OSError as error:
        raise CommandFailed(
            f"cannot listen on {host} port {port}: {error.strerror}; try --port"
        ) from None


def _serve(
    settings: Settings, url: str, listener: socket.socket, workers: int, banner: str
) -> bool:
    recover = workers > 1 and settings.has_embedded_worker
    asyncio.run(_check_dependencies(settings, url, recover=recover))
    if workers > 1:
        _supervise(settings, url, listener, workers, banner)
        return True
    from docvault.server.serve import create_served_app, run_server

    api = create_served_app(
        settings, url, with_worker=settings.has_embedded_worker, checked_processes=1
    )
    return run_server(api, listener, trusted_proxies=settings.trusted_proxies, banner=banner)


async def _check_dependencies(settings: Settings, url: str, *, recover: bool = False) -> None:
    """Open every dependency once before serving, to fail fast.

    So a misconfiguration is printed on the console instead of logged by each process.
    """
    async with open_resources(settings, url) as resources:
        await require_database(resources)
        if recover:
            from docvault.jobs.worker import recover as recover_jobs

            await recover_jobs(url, resources)


def _supervise(
    settings: Settings, url: str, listener: socket.socket, workers: int, banner: str
) -> None:
    """Run several API processes on one socket and, unless it is external, the worker."""
    # Otherwise each process would fail and be replaced.
    check_tracing()
    supervised = ["--supervisor", str(os.getpid())]
    serving = [["serve-process", str(listener.fileno()), *supervised]] * workers
    # One checks for all: they share its control group, store and spool.
    serving[0] = [*serving[0], "--checked", str(workers)]
    others = [["worker", *supervised]] if settings.has_embedded_worker else []
    environment = {
        "DOCVAULT_DATABASE_URL": url,
        "DOCVAULT_SECRET_KEY": secret_key(settings),
        "DOCVAULT_STORAGE_URL": settings.effective_storage_url,
    }
    # Processes take seconds to start; until one listens, its address refuses connections.
    on_listen = partial(typer.echo, banner)
    with ExitStack() as stack:
        on_exit = None
        if settings.metrics_bind is not None:
            directory = str(stack.enter_context(metrics_directory()))
            environment[DIRECTORY_VARIABLE] = directory
            on_exit = partial(mark_process_dead, path=directory)
        Supervisor(
            serving, others, environment, listener, on_listen=on_listen, on_exit=on_exit
        ).run()


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Exit cleanly on SIGTERM or Ctrl-C, even while PostgreSQL is starting or stopping.

    SIGHUP, sent when a terminal is closed, acts as SIGTERM unless ignored, as under nohup.
    """

    def stop(*_: object) -> None:
        raise SystemExit(0)

    def hang_up(*_: object) -> None:
        # The shell and the kernel may both send it; a second signal would stop at once.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.raise_signal(signal.SIGTERM)

    previous = {signal.SIGTERM: signal.signal(signal.SIGTERM, stop)}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        previous[signal.SIGHUP] = signal.signal(signal.SIGHUP, hang_up)
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(0) from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _format_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host
