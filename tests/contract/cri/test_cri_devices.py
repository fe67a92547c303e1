"""Devices by path and by name (CDI), capabilities, and the order in which the kernel kills."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from navarch.protos.cri import v1_pb2 as criv1

from .conftest import Code, Peer, differs, refused

# The same device as /dev/null, which every container may use: 1:11 is /dev/kmsg, which none may.
KMSG = {"path": "/dev/acme", "hostPath": "/dev/kmsg"}


@pytest.fixture
def vendor(cri: Peer, tmp_path: Path) -> Iterator[Path]:
    """What a vendor says of its devices, beside a file that nobody can read."""
    document: dict[str, Any] = {
        "cdiVersion": "0.6.0",
        "kind": "acme.com/gpu",
        "containerEdits": {"env": ["ACME=all"]},
        "devices": [
            {"name": "0", "containerEdits": {"deviceNodes": [KMSG], "env": ["GPU=0"]}},
            {
                "name": "1",
                "containerEdits": {
                    "mounts": [{"hostPath": str(tmp_path), "containerPath": "/acme", "options": ["ro"]}],
                    "hooks": [
                        {"hookName": "createRuntime", "path": "/bin/touch", "args": ["touch", f"{tmp_path}/hook"]}
                    ],
                    "additionalGids": [4711],
                },
            },
            {"name": "gone", "containerEdits": {"deviceNodes": [{"path": "/dev/nosuch"}]}},
        ],
    }
    folder = cri.containerd.cdi_dir
    folder.mkdir()
    files = folder / "acme.json", folder / "broken.json"
    files[0].write_text(json.dumps(document))
    files[1].write_text("{")
    yield tmp_path
    for file in files:
        file.unlink()
    folder.rmdir()


def with_devices(config: criv1.ContainerConfig, *names: str) -> criv1.ContainerConfig:
    config.CDI_devices.extend(criv1.CDIDevice(name=name) for name in names)
    return config


def is_without_cdi(cri: Peer) -> bool:
    return cri.where(shim=False, plugin=True, because="devices by name came to CRI after containerd 1.6")


async def test_devices_by_name(cri: Peer, vendor: Path) -> None:
    if is_without_cdi(cri):
        return
    config = with_devices(cri.container_config(), "acme.com/gpu=1")
    config.annotations["cdi.k8s.io/plugin"] = "acme.com/gpu=0"
    container = await cri.container(await cri.sandbox(), config)
    assert await cri.shell(container, "echo $ACME $GPU; stat -c %t:%T /dev/acme; ls -d /acme/hook") == (
        "all 0\n1:b\n/acme/hook\n"
    )
    assert (await cri.exec(container, "dd", "if=/dev/null", "of=/dev/acme", "count=0")).exit_code == 0
    assert "4711" in (await cri.shell(container, "id -G")).split()
    assert (vendor / "hook").exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("acme.com/gpu=7", "unresolvable CDI device acme.com/gpu=7"),
        ("other.com/gpu=0", "unresolvable CDI device other.com/gpu=0"),
        ("gpu", "vendor/class=device"),
        ("acme.com/gpu=gone", "/dev/nosuch"),
    ],
)
async def test_devices_that_are_not_to_be_had(cri: Peer, vendor: Path, name: str, words: str) -> None:
    if is_without_cdi(cri):
        return
    sandbox = await cri.sandbox()
    with refused(Code.INVALID_ARGUMENT, match=words):
        await cri.create(sandbox, with_devices(cri.container_config(), name))
    assert not (await cri.runtime.ListContainers(criv1.ListContainersRequest())).containers


@pytest.mark.parametrize(("permissions", "may_write"), [("r", False), ("rw", True), ("rwm", True)])
async def test_permissions(cri: Peer, permissions: str, may_write: bool) -> None:
    """Of the group, not of the node: root is refused too. Without any, a container has no such device."""
    config = cri.container_config()
    config.devices.add(container_path="/dev/mine", host_path="/dev/kmsg", permissions=permissions)
    container = await cri.container(await cri.sandbox(), config)
    written = await cri.exec(container, "dd", "if=/dev/null", "of=/dev/mine", "count=0")
    assert (written.exit_code == 0) is may_write, written.stderr


async def test_what_was_not_given_cannot_be_made(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    script = "mknod /mine c 1 11 && dd if=/dev/null of=/mine count=0"
    said = await cri.exec(container, "sh", "-c", script)
    assert said.exit_code != 0
    assert "not permitted" in said.stderr.decode()


@pytest.mark.parametrize(
    ("added", "dropped", "has", "lacks"),
    [
        ((), (), {0, 10, 27}, {12, 21}),
        (("NET_ADMIN",), ("CHOWN",), {10, 12}, {0}),
        (("NET_ADMIN",), ("ALL",), {12}, {0, 10}),
        (("ALL",), ("KILL",), {0, 10, 12}, {5}),
    ],
    ids=["default", "add and drop", "drop all", "add all"],
)
async def test_capabilities(
    cri: Peer, added: tuple[str, ...], dropped: tuple[str, ...], has: set[int], lacks: set[int]
) -> None:
    config = cri.container_config()
    asked = config.linux.security_context.capabilities
    asked.add_capabilities.extend(added)
    asked.drop_capabilities.extend(dropped)
    container = await cri.container(await cri.sandbox(), config)
    told = (await cri.shell(container, "grep CapEff /proc/self/status")).split()[-1]
    held = {number for number in range(64) if int(told, 16) >> number & 1}
    assert has <= held
    assert not lacks & held


@differs("plugin", reason="it takes any name, and runc leaves out, with a warning, what the kernel does not know")
async def test_an_unknown_capability(cri: Peer) -> None:
    config = cri.container_config()
    config.linux.security_context.capabilities.add_capabilities.append("FLY")
    sandbox = await cri.sandbox()
    with refused(Code.INVALID_ARGUMENT, Code.UNKNOWN, match="(?i)FLY"):
        await cri.create(sandbox, config)


async def test_a_score_below_what_is_ours_to_give(cri: Peer) -> None:
    """Lowering it takes a capability that this process may lack; the container starts all the same."""
    config = cri.container_config()
    config.linux.resources.oom_score_adj = -998
    container = await cri.container(await cri.sandbox(), config)
    assert -998 <= int(await cri.shell(container, "cat /proc/1/oom_score_adj")) <= 0


async def test_limits_are_those_of_the_host(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    assert int((await cri.shell(container, "ulimit -n")).strip()) >= 1024
