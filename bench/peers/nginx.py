"""nginx with its WebDAV module: how fast this machine can receive and send files."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import Tree, free_port, responses, running
from bench.setup import Missing, Setup

# The request body buffer is nginx's default of 16 KiB.
_CONFIGURATION = """
daemon off;
{user}
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    keepalive_requests 1000000;
    sendfile on;
    client_max_body_size 0;
    client_body_temp_path {store}/temporary;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            root {store};
            dav_methods PUT DELETE;
        }}
        location = /hello {{
            return 200 hello;
        }}
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Nginx:
    """A running nginx; files PUT to a path are stored below `store`."""

    port: int
    server: Tree
    store: Path


@contextmanager
def nginx(setup: Setup) -> Iterator[Nginx]:
    """Run nginx until the block ends; raises `Missing`."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        raise Missing("nginx is not installed (Debian: apt-get install nginx-light)")
    built = subprocess.run([program, "-V"], check=True, capture_output=True, text=True).stderr
    if "http_dav_module" not in built:
        raise Missing("this nginx has no WebDAV module")
    folder, store, port = setup.folder("nginx"), setup.store_folder("nginx"), free_port()
    user = "user root;" if os.geteuid() == 0 else ""
    configuration = folder / "nginx.conf"
    configuration.write_text(
        _CONFIGURATION.format(user=user, folder=folder, store=store, port=port)
    )
    command: list[str | Path] = [program, "-c", configuration]
    with running(command, folder / "log", ready=responses(port, "/hello")) as server:
        yield Nginx(port, server, store)
