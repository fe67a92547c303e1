"""Networks: what plugins are told, and what becomes of sandboxes when plugins fail."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.testing.cri_client import until

from .conftest import Code, Peer, refused

NOT_READY = criv1.PodSandboxState.SANDBOX_NOTREADY
# Notes what it is given, does what a file named for the command says, and passes the result on.
NOTE = f"""#!{sys.executable} -IS
import json, os, pathlib, sys
command, given = os.environ["CNI_COMMAND"], json.load(sys.stdin)
if command == "VERSION":
    print(json.dumps({{"cniVersion": "1.0.0", "supportedVersions": ["0.3.1", "0.4.0", "1.0.0"]}}))
    sys.exit()
notes = pathlib.Path(given["notes"])
with open(notes / command, "a") as file:
    file.write(json.dumps({{"env": dict(os.environ), "stdin": given}}) + "\\n")
order = notes / f"order-{{command}}"
if order.exists():
    print(order.read_text())
    sys.exit("refused" in order.read_text())
if command == "ADD":
    print(json.dumps(given["prevResult"]))
"""
REFUSAL = json.dumps({"cniVersion": "1.0.0", "code": 100, "msg": "refused for the test"})


class Network:
    """The network of new sandboxes for a test: a bridge with the noting plugin behind it."""

    def __init__(self, cri: Peer, notes: Path) -> None:
        self.name = f"note-{cri.name}"
        self._cri = cri
        self._notes = notes
        self.ipam = notes / "ipam"
        self.bridge = f"{cri.containerd.bridge(cri.name)}n"

    def document(self, version: str, ranges: list[str]) -> dict[str, Any]:
        """The .conflist."""
        addresses = {
            "type": "host-local",
            "dataDir": str(self.ipam),
            "ranges": [[{"subnet": subnet}] for subnet in ranges],
        }
        bridge = {"type": "bridge", "bridge": self.bridge, "isGateway": True, "ipam": addresses}
        capabilities = {"portMappings": True, "bandwidth": True, "dns": True, "io.kubernetes.cri.pod-annotations": True}
        note = {"type": "note", "notes": str(self._notes), "capabilities": capabilities}
        return {"cniVersion": version, "name": self.name, "plugins": [bridge, note]}

    def calls(self, command: str) -> list[dict[str, Any]]:
        """What the plugin was given, for each call."""
        path = self._notes / command
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def order(self, command: str, answer: str | None) -> None:
        """From now on the plugin answers this; None: what is right."""
        path = self._notes / f"order-{command}"
        path.unlink(missing_ok=True) if answer is None else path.write_text(answer)

    def reserved(self) -> set[str]:
        """Addresses that are taken."""
        return {path.name for path in (self.ipam / self.name).glob("*.*.*.*")}


def install(cri: Peer) -> None:
    """The plugin."""
    program = cri.containerd.cni_bin_dir / "note"
    program.write_text(NOTE)
    program.chmod(0o755)


@asynccontextmanager
async def network(
    cri: Peer, notes: Path, version: str = "1.0.0", ranges: tuple[str, ...] = ("10.216.7.0/24",)
) -> AsyncIterator[Network]:
    """Written before the other configuration by name; back to that one afterwards."""
    install(cri)
    made = Network(cri, notes)
    file = cri.containerd.cni_conf_dir(cri.name) / "00-note.conflist"

    async def loaded() -> str:
        info = (await cri.runtime.Status(criv1.StatusRequest(verbose=True))).info
        return info["cniconfig"]

    async def is_used() -> bool:
        return made.name in await loaded()

    async def is_gone() -> bool:
        return made.name not in await loaded()

    file.write_text(json.dumps(made.document(version, list(ranges))))
    try:
        await until(is_used)
        yield made
    finally:
        for command in ("ADD", "DEL"):
            made.order(command, None)
        file.unlink()
        await until(is_gone)
        subprocess.run(["ip", "link", "delete", made.bridge], check=False, capture_output=True)


def lowered(document: dict[str, Any]) -> dict[str, Any]:
    """With keys in small letters."""
    return {key.lower(): value for key, value in document.items()}


def arguments(call: dict[str, Any]) -> dict[str, str]:
    """CNI_ARGS of a call."""
    return dict(pair.split("=", 1) for pair in call["env"]["CNI_ARGS"].split(";"))


async def listed(cri: Peer) -> dict[str, int]:
    """States of the sandboxes by id."""
    items = (await cri.runtime.ListPodSandbox(criv1.ListPodSandboxRequest())).items
    return {item.id: item.state for item in items}


async def test_what_plugins_are_told(cri: Peer, tmp_path: Path) -> None:
    async with network(cri, tmp_path) as net:
        config = cri.sandbox_config("told")
        config.port_mappings.add(protocol=criv1.Protocol.UDP, container_port=53, host_port=5353, host_ip="127.0.0.1")
        config.port_mappings.add(container_port=8080)
        config.dns_config.servers.append("192.0.2.53")
        config.annotations["kubernetes.io/ingress-bandwidth"] = "10M"
        sandbox = await cri.sandbox(config)
        (add,) = net.calls("ADD")
        assert arguments(add) == {
            "IgnoreUnknown": "1",
            "K8S_POD_NAMESPACE": "default",
            "K8S_POD_NAME": "told",
            "K8S_POD_INFRA_CONTAINER_ID": sandbox,
            "K8S_POD_UID": "uid-told",
        }
        assert add["env"]["CNI_CONTAINERID"] == sandbox
        assert add["env"]["CNI_IFNAME"] == "eth0"
        runtime = add["stdin"]["runtimeConfig"]
        # The plugin's keys begin with capitals; readers in Go don't mind.
        ports = list(map(lowered, runtime["portMappings"]))
        expected = {"hostport": 5353, "containerport": 53, "protocol": "udp", "hostip": "127.0.0.1"}
        assert [port for port in ports if port["hostport"]] == [expected]
        bandwidth = lowered(runtime["bandwidth"])
        assert bandwidth["ingressrate"] == 10_000_000
        assert bandwidth["ingressburst"] > 0
        assert lowered(runtime["dns"])["servers"] == ["192.0.2.53"]
        assert runtime["io.kubernetes.cri.pod-annotations"] == config.annotations
        address = (await cri.sandbox_status(sandbox)).network.ip
        assert add["stdin"]["prevResult"]["ips"][0]["address"] == f"{address}/24"
        await cri.stop(sandbox)
        delete = net.calls("DEL")[-1]
        assert delete["stdin"]["prevResult"]["ips"] == add["stdin"]["prevResult"]["ips"]
        assert delete["stdin"]["runtimeConfig"] == runtime
        assert arguments(delete) == arguments(add)
        assert delete["env"]["CNI_NETNS"] == add["env"]["CNI_NETNS"]
        assert net.reserved() == set()


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0"])
async def test_older_versions_of_the_specification(cri: Peer, tmp_path: Path, version: str) -> None:
    async with network(cri, tmp_path, version) as net:
        sandbox = await cri.sandbox(host_network=False)
        assert (await cri.sandbox_status(sandbox)).network.ip.startswith("10.216.7.")
        await cri.stop(sandbox)
        assert ("prevResult" in net.calls("DEL")[-1]["stdin"]) == (version != "0.3.1")
        assert net.reserved() == set()


async def test_a_del_asks_what_the_add_asked(cri: Peer, tmp_path: Path) -> None:
    """The configuration that is kept with the sandbox counts, whatever the files say meanwhile."""
    async with network(cri, tmp_path) as net:
        sandbox = await cri.sandbox(host_network=False)
    if cri.where(shim=True, plugin=False, because="the plugin uses whatever is loaded now"):
        await cri.stop(sandbox)
        assert net.calls("DEL")[-1]["env"]["CNI_CONTAINERID"] == sandbox
        assert net.reserved() == set()


async def test_addresses_of_both_families(cri: Peer, tmp_path: Path) -> None:
    async with network(cri, tmp_path, ranges=("10.216.7.0/24", "fd00:216::/64")):
        sandbox = await cri.sandbox(host_network=False)
        status = (await cri.sandbox_status(sandbox)).network
        assert status.ip.startswith("10.216.7.")
        (other,) = status.additional_ips
        assert other.ip.startswith("fd00:216::")
        container = await cri.container(sandbox)
        seen = await cri.shell(container, "ip address show dev eth0; ip address show dev lo; cat /etc/hosts")
        assert f"inet {status.ip}/24" in seen
        assert f"inet6 {other.ip}/64" in seen
        assert "LOOPBACK,UP" in seen
        if cri.where(shim=True, plugin=False, because="the plugin gives containers the host's file"):
            assert f"\n{status.ip}\t" in seen
            assert f"\n{other.ip}\t" in seen


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (REFUSAL, "refused for the test"),
        ("{not json", None),
        ('{"cniVersion": "1.0.0", "ips": "refused"}', None),
        ('{"cniVersion": "1.0.0"}', None)
    ],
    ids=["failure", "no-json", "nonsense", "no-address"],
)  # fmt: skip
async def test_an_add_that_fails_leaves_nothing(cri: Peer, tmp_path: Path, answer: str, words: str | None) -> None:
    async with network(cri, tmp_path) as net:
        net.order("ADD", answer)
        with refused(Code.UNKNOWN, match=words):
            await cri.sandbox(host_network=False)
        assert net.calls("DEL")
        assert net.reserved() == set()
        assert await listed(cri) == {}
        net.order("ADD", None)
        await cri.sandbox(host_network=False)


async def test_a_stop_fails_while_the_network_can_not_be_undone(cri: Peer, tmp_path: Path) -> None:
    async with network(cri, tmp_path) as net:
        sandbox = await cri.sandbox(host_network=False)
        container = await cri.container(sandbox)
        net.order("DEL", REFUSAL)
        for _ in range(2):
            with refused(Code.UNKNOWN, match="refused for the test"):
                await cri.stop(sandbox)
        assert await cri.state(container) == "EXITED"
        with refused(Code.UNKNOWN, match="refused for the test"):
            await cri.remove(sandbox)
        assert (await listed(cri))[sandbox] == NOT_READY
        net.order("DEL", None)
        await cri.stop(sandbox)
        assert net.reserved() == set()
        await cri.remove(sandbox)
        assert await listed(cri) == {}


async def test_what_can_be_neither_made_nor_undone_stays_to_be_stopped(cri: Peer, tmp_path: Path) -> None:
    async with network(cri, tmp_path) as net:
        net.order("ADD", REFUSAL)
        net.order("DEL", REFUSAL)
        with refused(Code.UNKNOWN, match="refused for the test"):
            await cri.sandbox(host_network=False)
        ((sandbox, state),) = (await listed(cri)).items()
        assert state == NOT_READY
        with refused(Code.UNKNOWN, match="refused for the test"):
            await cri.stop(sandbox)
        net.order("DEL", None)
        await cri.stop(sandbox)
        assert net.reserved() == set()
        await cri.remove(sandbox)


async def test_a_plugin_that_is_not_installed(cri: Peer, tmp_path: Path) -> None:
    async with network(cri, tmp_path):
        program = cri.containerd.cni_bin_dir / "note"
        program.unlink()
        with refused(Code.UNKNOWN, match="note"):
            await cri.sandbox(host_network=False)
        left = await listed(cri)
        expected = cri.where(shim=[], plugin=[NOT_READY], because="we look for plugins before any is asked")
        assert list(left.values()) == expected
        install(cri)
        for sandbox in left:
            await cri.remove(sandbox)
