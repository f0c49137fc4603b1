"""Whether a folder is in memory."""

from pathlib import Path

import pytest

from docvault.storage import mounts
from docvault.storage.mounts import is_in_memory

MOUNTS = """\
overlay / overlay rw 0 0
tmpfs /tmp tmpfs rw 0 0
/dev/sda1 /tmp/disk ext4 rw 0 0
tmpfs /with\\040blank tmpfs rw 0 0
/dev/sdb1 /covered ext4 rw 0 0
tmpfs /covered tmpfs rw 0 0
"""


@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("/srv/spool", False),
        ("/tmp/spool", True),
        ("/tmp", True),
        ("/tmpfs", False),
        ("/tmp/disk/spool", False),
        ("/with blank/spool", True),
        ("/covered/spool", True),
    ],
)
def test_innermost_mount_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, expected: bool
) -> None:
    listed = tmp_path / "mounts"
    listed.write_text(MOUNTS)
    monkeypatch.setattr(mounts, "_MOUNTS", listed)
    assert is_in_memory(Path(folder)) == expected


def test_system_without_list_is_not_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mounts, "_MOUNTS", tmp_path / "missing")
    assert not is_in_memory(tmp_path)
