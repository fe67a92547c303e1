"""The table of mounts."""

from pathlib import Path

import pytest

from navarch.services.base.mounting import mount_points

TABLE = """\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
30 22 0:5 / /data/d/shim/shm rw,relatime shared:1 - tmpfs shm rw
31 22 0:5 / /data/d rw - tmpfs x rw
32 22 0:5 / /data/d/a\\040b\\134c rw - tmpfs x rw
33 22 0:5 / /données/é☃/x rw - tmpfs x rw
34 22 0:5 / /data/deep rw - tmpfs x rw
"""


@pytest.mark.parametrize(
    ("below", "expected"),
    [
        ("/data/d/", ["/data/d/shim/shm", "/data/d/a b\\c", "/data/d"]),
        ("/données/é☃/", ["/données/é☃/x"]),
        ("/shim/", ["/data/d/shim/shm"]),
        ("/none/", []),
    ],
)
def test_points_come_inner_ones_first_and_unescaped(tmp_path: Path, below: str, expected: list[str]) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(TABLE, encoding="utf-8")
    assert list(map(str, mount_points(below, table))) == expected
