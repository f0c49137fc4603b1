"""An account of the platform's choice: no name, no home, nothing writable but its folders."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from secrets import token_hex

import pytest
from tests.fixtures.network_postgres import VERSIONS, network_postgres
from tests.fixtures.server import DOCVAULT

pytestmark = pytest.mark.system

UID = 1_234_567
# As on OpenShift: group 0, no capabilities. The one that is left only reads, since the Python of
# the tests may be in the home directory of root.
AS_ACCOUNT = [
    "setpriv",
    f"--reuid={UID}",
    "--regid=0",
    "--clear-groups",
    "--inh-caps=-all,+dac_read_search",
    "--ambient-caps=+dac_read_search",
]
USE = """
set -e
mount -o remount,bind,ro /
mount -t tmpfs -o mode=0770,gid=0 tmpfs /mnt
mkdir -m 1777 /mnt/tmp
exec {account} env -i PATH=/usr/bin:/bin {settings} {python} {script}
"""
SCRIPT = Path(__file__).with_name("use_service.py")


@pytest.mark.req("B-207")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can choose an account and mount")
def test_service_runs_with_any_account() -> None:
    with network_postgres(VERSIONS[0]) as server:
        settings = {
            "DOCVAULT_DATA_DIR": "/mnt/data",
            # Not mounted over /tmp, which may hold the clone that is tested.
            "TMPDIR": "/mnt/tmp",
            "DOCVAULT_SECRET_KEY": token_hex(32),
            "DOCVAULT_DATABASE_URL": server.url(),
            "DOCVAULT_WORKER": "embedded",
            "DOCVAULT": DOCVAULT,
        }
        script = USE.format(
            account=shlex.join(AS_ACCOUNT),
            settings=shlex.join(f"{name}={value}" for name, value in settings.items()),
            python=sys.executable,
            script=SCRIPT,
        )
        done = subprocess.run(
            ["unshare", "--mount", "bash", "-c", script],
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
    assert done.stdout.split() == ["201", "200", "200", str(UID)], done.stderr
