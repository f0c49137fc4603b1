"""A deployment in a project of its own, on the engine that `docker` reaches."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[3]
SERVICES = ("proxy", "api", "worker", "database", "store")
HEALTHY_SECONDS = 180


@dataclass(frozen=True, slots=True)
class Deployment:
    """A copy of the checkout, and the containers that run from it."""

    folder: Path
    name: str
    port: int
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where clients reach the proxy."""
        return f"http://127.0.0.1:{self.port}"

    def run(self, *command: str, fails: bool = False) -> str:
        """Run a command in the copy; return its output. It ends the program unless it may fail."""
        environment = {
            **os.environ,
            "COMPOSE_PROJECT_NAME": self.name,
            "DOCVAULT_PUBLISH": f"127.0.0.1:{self.port}",
            "DOCVAULT_PUBLIC_URL": self.url,
            **self.variables,
        }
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode and not fails:
            sys.exit(f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def compose(self, *command: str, fails: bool = False) -> str:
        """Run `docker compose`."""
        return self.run("docker", "compose", *command, fails=fails)

    def script(self, service: str, text: str, *, fails: bool = False) -> str:
        """Run a shell script in a container."""
        return self.compose("exec", "-T", service, "sh", "-c", text, fails=fails)

    def up(self) -> None:
        """Start it by the command of the README."""
        self.run("sh", "-c", "deploy/make-secrets.sh && docker compose up --build --detach --wait")

    def containers(self, service: str) -> list[str]:
        """Return the ids of a service's containers that run."""
        return self.compose("ps", "--quiet", service).split()

    def inspect(self, service: str, template: str) -> list[str]:
        """Return what the engine says about each container of a service."""
        containers = self.containers(service)
        return self.run("docker", "inspect", "--format", template, *containers).splitlines()

    def kill(self, service: str) -> None:
        """Kill the main process from outside, as a machine without memory does.

        The engine starts the container again. It would not after `docker kill`.
        """
        for line in self.inspect(service, "{{.State.Pid}} {{.Config.Image}}"):
            process, image = line.split()
            confined = ("--rm", "--network", "none", "--pid", "host", "--user", "0")
            kill = ("--entrypoint", "sh", image, "-c", f"kill -KILL {process}")
            self.run("docker", "run", *confined, *kill)

    def wait_until_healthy(self, *services: str) -> None:
        """Wait until the engine reports all of them healthy."""
        deadline = time.monotonic() + HEALTHY_SECONDS
        while waiting := [name for name in services if not self._is_healthy(name)]:
            if time.monotonic() > deadline:
                sys.exit(f"not healthy: {', '.join(waiting)}")
            time.sleep(0.5)

    def _is_healthy(self, service: str) -> bool:
        states = self.compose("ps", "--format", "{{.Health}}", service, fails=True).split()
        return bool(states) and set(states) == {"healthy"}

    def client(self) -> httpx.Client:
        """Return a client with the token of staff."""
        token = self.compose("exec", "-T", "api", "docvault", "token", "admin").split()[-1]
        return httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=60,
            trust_env=False,
            limits=httpx.Limits(max_connections=100),
        )

    def verify(self) -> None:
        """Compare all rows with all bytes; end the program if a document is damaged."""
        self.compose("run", "--rm", "--no-deps", "-T", "api", "verify", "--rehash")

    def stand_ins(self) -> list[str]:
        """Return the images of others that come from no registry, but were made on this engine."""
        names = self.compose("--profile", "*", "config", "--images").split()
        found = [name for name in sorted(set(names)) if not name.startswith("docvault:")]
        return [name for name in found if self.has_image(name) and not self._digests(name)]

    def has_image(self, name: str) -> bool:
        """Return whether the engine has an image."""
        return bool(self.run("docker", "image", "inspect", name, fails=True).strip("[] \n"))

    def _digests(self, image: str) -> object:
        return json.loads(self.run("docker", "image", "inspect", image))[0]["RepoDigests"]


@contextmanager
def deployed(name: str, port: int) -> Iterator[Deployment]:
    """Copy the checkout as with a umask of 077; at the end remove what was made of it."""
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=os.environ.get("ENGINE_FOLDER")))
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    for path in filter(lambda one: one and (ROOT / one).is_file(), listed):
        target = folder / path
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copy(ROOT / path, target)
        target.chmod(0o700 if os.access(ROOT / path, os.X_OK) else 0o600)
    made = Deployment(folder, name, port)
    try:
        yield made
    finally:
        made.compose("--profile", "*", "down", "--volumes", "--remove-orphans", fails=True)
        # Those of files that are not read now.
        volumes = ("--filter", f"label=com.docker.compose.project={name}")
        made.run("docker", "volume", "prune", "--all", "--force", *volumes, fails=True)
        shutil.rmtree(folder, ignore_errors=True)
