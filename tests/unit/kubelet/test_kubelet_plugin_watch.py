"""The sockets of plugins, which come and go at any moment."""

import socket
from pathlib import Path

import pytest

from navarch.services.base.clock import SystemClock
from navarch.services.kubelet.plugins.registration import FOLDER, PluginWatch


class Handler:
    """Wants nobody."""

    async def plug_in(self, name: str, endpoint: Path, versions: tuple[str, ...]) -> None:
        raise AssertionError("nobody answers here")

    async def unplug(self, name: str) -> None:
        raise AssertionError("nobody was there")


async def test_a_socket_that_goes_while_it_is_looked_at_is_just_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / FOLDER
    folder.mkdir()
    (folder / "file.sock").write_text("no socket")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(folder / "x.sock"))
    looked = Path.lstat

    def vanish(path: Path) -> object:
        if path.name == "x.sock":
            path.unlink(missing_ok=True)
        return looked(path)

    monkeypatch.setattr(Path, "lstat", vanish)
    await PluginWatch(tmp_path, SystemClock(), {"CSIPlugin": Handler()}).look()
    assert not (folder / "x.sock").exists()
