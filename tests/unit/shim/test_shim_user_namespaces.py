"""User namespaces in what containerd and runc are told."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from navarch.protos.containerd.runc import v1_pb2 as runcv1
from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.containerd import spec
from navarch.runtime_shim.containerd.handlers import Handlers
from navarch.runtime_shim.containerd.images.model import ImageConfig
from navarch.runtime_shim.containerd.user_namespaces import Mapping, check_ids
from navarch.runtime_shim.containerd.users import User
from navarch.runtime_shim.containerd.volumes import keep_flags
from navarch.runtime_shim.errors import InvalidArgument


def build(mapping: Mapping | None, *, idmap: bool = False, mount: criv1.Mount | None = None) -> dict[str, Any]:
    config = criv1.ContainerConfig(command=["true"], mounts=[mount] if mount else [])
    inputs = spec.Inputs(
        "id", "sandbox", "host", ImageConfig(()), User(), "/group", frozenset(),
        namespaces={"user": "/pins/user"} if mapping else {}, mapping=mapping, idmap=idmap,
    )  # fmt: skip
    return spec.build(config, inputs)


def options_of(document: dict[str, Any], destination: str) -> list[str]:
    (found,) = (mount["options"] for mount in document["mounts"] if mount["destination"] == destination)
    return list(found)


def test_the_namespace_and_its_ids() -> None:
    linux = build(Mapping(1000, 9))["linux"]
    assert linux["namespaces"][0] == {"type": "user", "path": "/pins/user"}
    assert linux["uidMappings"] == linux["gidMappings"] == [{"containerID": 0, "hostID": 1000, "size": 9}]
    assert "uidMappings" not in build(None)["linux"]
    assert "user" not in {namespace["type"] for namespace in build(None)["linux"]["namespaces"]}


@pytest.mark.parametrize(("length", "expected"), [(6, True), (5, False)])
def test_terminals_are_of_their_group_if_there_is_one(length: int, expected: bool) -> None:
    assert ("gid=5" in options_of(build(Mapping(1000, length)), "/dev/pts")) is expected


def test_volumes_with_mapped_ids() -> None:
    lines = [criv1.IDMapping(container_id=0, host_id=1000, length=9)]
    mount = criv1.Mount(host_path="/", container_path="/data", uidMappings=lines, gidMappings=lines)
    (bind,) = (found for found in build(None, idmap=True, mount=mount)["mounts"] if found["destination"] == "/data")
    assert bind["uidMappings"] == bind["gidMappings"] == [{"containerID": 0, "hostID": 1000, "size": 9}]
    assert "idmap" in bind["options"]
    with pytest.raises(InvalidArgument, match="mount of /data: .*runc 1.2"):
        build(None, mount=mount)


def test_who_may_open_standard_output(tmp_path: Path) -> None:
    for user in (0, 1000):
        options = runcv1.Options.FromString(Handlers(tmp_path).runtime("", user).options.value)
        assert (options.io_uid, options.io_gid) == (user, user)


def test_users_that_are_not_there() -> None:
    check_ids(None, 70_000, [70_000])
    check_ids(Mapping(1000, 9), 8, [0, 8])
    with pytest.raises(InvalidArgument, match="^group 9 is not in the user namespace: it has 0 to 8$"):
        check_ids(Mapping(1000, 9), 8, [0, 9])


def test_flags_of_a_source_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    source = SimpleNamespace(f_flag=os.ST_NOSUID | os.ST_NOEXEC | os.ST_RDONLY)
    monkeypatch.setattr(os, "statvfs", lambda path: source)
    mounts: list[dict[str, Any]] = [
        {"type": "bind", "source": "/volume", "options": ["ro"]},
        {"type": "proc", "source": "proc", "options": []},
    ]
    keep_flags(mounts)
    assert [mount["options"] for mount in mounts] == [["ro", "nosuid", "noexec"], []]
