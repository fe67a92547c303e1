"""What runtimes say that they can do."""

from pathlib import Path
from typing import Any

import pytest

from navarch.runtime_shim.containerd.features import Features, RuntimeFeatures, parse
from navarch.runtime_shim.containerd.handlers import Handler, Handlers

OLD: dict[str, Any] = {"mountOptions": ["ro", "rro"], "linux": {"namespaces": ["mount", "user"]}}
NEW: dict[str, Any] = {**OLD, "linux": {**OLD["linux"], "mountExtensions": {"idmap": {"enabled": True}}}}


@pytest.mark.parametrize(
    ("document", "kernel", "expected"),
    [
        pytest.param(OLD, (6, 1), Features(True, False, True), id="runc 1.1"),
        pytest.param(NEW, (6, 1), Features(True, True, True), id="runc 1.2"),
        pytest.param(NEW, (5, 4), Features(False, False, True), id="old kernel"),
        pytest.param({}, (6, 1), Features(), id="nothing said"),
        pytest.param({"linux": None, "mountOptions": None}, (6, 1), Features(), id="nulls"),
    ],
)
def test_what_is_understood(document: dict[str, Any], kernel: tuple[int, ...], expected: Features) -> None:
    assert parse(document, kernel) == expected
    assert expected.user_namespaces is (expected.has_user_namespace and expected.id_mapped_mounts)


def handler(path: Path, script: str) -> Handler:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return Handler(path.name, options={"binary_name": str(path)})


async def test_who_is_asked(tmp_path: Path) -> None:
    count = tmp_path / "count"
    answers = f"""echo "$@" >> {count}; echo '{{"mountOptions": ["rro"]}}'"""
    known = [
        handler(tmp_path / "new", answers),
        handler(tmp_path / "old", "echo unknown command >&2; exit 1"),
        Handler("gone", options={"binary_name": str(tmp_path / "nosuch")}),
        Handler("kata", "io.containerd.kata.v2"),
    ]
    features = RuntimeFeatures(Handlers(tmp_path, known))
    for _ in range(2):
        assert await features.of("new") == Features(recursive_read_only_mounts=True)
    assert count.read_text() == "features\n"
    for name in ("old", "gone", "kata"):
        assert await features.of(name) == Features()
    (tmp_path / "new").unlink()
    handler(tmp_path / "new", f"{answers} # replaced")
    await features.of("new")
    assert count.read_text() == "features\n" * 2
