"""Kernel parameters: those of a sandbox's own namespaces are set there and nowhere else; others are refused."""

from pathlib import Path

import pytest

from navarch.protos.cri import v1_pb2 as criv1

from .conftest import Code, Peer, refused

Mode = criv1.NamespaceMode
SET = {
    "kernel.shm_rmid_forced": "1",
    "kernel.msgmax": "16384",
    "kernel.sem": "100\t32000\t50\t64",
    "fs.mqueue.msg_max": "20",
    "net.ipv4.ip_unprivileged_port_start": "80",
    "net.ipv4.ping_group_range": "0\t100",
    "net/ipv4/conf/lo/rp_filter": "2",
}


def file(name: str) -> str:
    return "/proc/sys/" + (name if "/" in name else name.replace(".", "/"))


async def test_they_are_set_in_the_sandbox_and_only_there(cri: Peer) -> None:
    before = {name: Path(file(name)).read_text() for name in SET}
    config = cri.sandbox_config()
    config.linux.sysctls.update(SET)
    container = await cri.container(await cri.sandbox(config))
    for name, value in SET.items():
        assert (await cri.shell(container, f"cat {file(name)}")).strip() == value
    assert {name: Path(file(name)).read_text() for name in SET} == before


@pytest.mark.parametrize(
    ("name", "network", "ipc"),
    [
        ("kernel.panic", Mode.POD, Mode.POD),
        ("vm.swappiness", Mode.POD, Mode.POD),
        ("fs.file-max", Mode.POD, Mode.POD),
        ("net.ipv4.ip_forward", Mode.NODE, Mode.POD),
        ("kernel.msgmax", Mode.POD, Mode.NODE),
        ("fs.mqueue.msg_max", Mode.POD, Mode.NODE),
        ("net.ipv4.nosuch", Mode.POD, Mode.POD),
        ("net/../kernel/panic", Mode.POD, Mode.POD),
    ],
)
async def test_those_of_the_host_and_unknown_ones_are_refused(
    cri: Peer, name: str, network: "criv1.NamespaceMode", ipc: "criv1.NamespaceMode"
) -> None:
    config = cri.sandbox_config()
    options = config.linux.security_context.namespace_options
    options.network, options.ipc = network, ipc
    config.linux.sysctls[name] = "5"
    with refused(Code.INVALID_ARGUMENT, Code.UNKNOWN):
        await cri.sandbox(config)
    assert not (await cri.runtime.ListPodSandbox(criv1.ListPodSandboxRequest())).items


async def test_a_value_that_the_kernel_refuses(cri: Peer) -> None:
    config = cri.sandbox_config()
    config.linux.sysctls["net.ipv4.ip_unprivileged_port_start"] = "many"
    with refused(Code.INVALID_ARGUMENT, Code.UNKNOWN, match="ip_unprivileged_port_start"):
        await cri.sandbox(config)
