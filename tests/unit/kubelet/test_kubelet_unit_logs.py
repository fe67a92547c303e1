"""The logs of a node's services."""

from pathlib import Path

import pytest

from navarch.services.api.errors import BadRequest
from navarch.services.kubelet import unit_logs
from navarch.services.kubelet.unit_logs import MOST_BYTES, candidates, tail


@pytest.mark.parametrize(
    ("text", "lines", "expected"),
    [
        (b"", 5, b""),
        (b"a\nb\nc\n", 2, b"b\nc\n"),
        (b"a\nb\nc", 2, b"b\nc"),
        (b"a\n", 9, b"a\n"),
        (b"x" * MOST_BYTES + b"\nlast\n", 9, b"last\n"),
    ],
)
def test_the_last_lines_of_a_file(tmp_path: Path, text: bytes, lines: int, expected: bytes) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(text)
    assert tail(path, lines) == expected


@pytest.mark.parametrize(
    ("unit", "own", "first"),
    [
        ("kubelet", Path("/data/logs/kubelet-1.log"), "/data/logs/kubelet-1.log"),
        ("apiserver", Path("/data/logs/kubelet.log"), "/data/logs/apiserver.log"),
        ("ssh", None, "/var/log/ssh.log"),
    ],
)
def test_where_a_service_is_looked_for(unit: str, own: Path | None, first: str) -> None:
    assert str(next(iter(candidates(unit, own)))) == first


@pytest.mark.parametrize("unit", ["../x", "a/b", "-u", "a b", ".", "a\nb"])
async def test_what_is_no_name_of_a_service_is_refused(unit: str) -> None:
    with pytest.raises(BadRequest, match="is no name of a service"):
        await unit_logs.read(unit, 1)


async def test_a_service_that_writes_into_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit_logs, "LOGS", tmp_path)
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing" / "thing.log").write_text("1\n2\n3\n")
    found = await unit_logs.read("thing", 2)
    assert (found.data, found.source) == (b"2\n3\n", str(tmp_path / "thing" / "thing.log"))
