"""The node's network: CNI files and the nftables transaction."""

import json
import subprocess
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from navarch.services.network import cni_config, masquerade
from navarch.services.network.kernel import CIDR
from navarch.services.network.main import read

POD_CIDR: tuple[CIDR, ...] = (ip_network("10.244.1.0/24"),)
BOTH: tuple[CIDR, ...] = (*POD_CIDR, ip_network("fd01:0:0:1::/64"))
CLUSTER = frozenset({ip_network("10.244.0.0/16")})
FILES = ["10-navarch.conflist", "99-loopback.conf"]


def test_the_files_are_written_once_and_removed(tmp_path: Path) -> None:
    directory = tmp_path / "net.d"
    assert cni_config.write(directory, BOTH, "nv0", 1450)
    assert not cni_config.write(directory, BOTH, "nv0", 1450)
    config = json.loads((directory / cni_config.BRIDGE_FILE).read_text())
    bridge, portmap, bandwidth = config["plugins"]
    assert (bridge["type"], bridge["bridge"], bridge["ipMasq"], bridge["isGateway"]) == ("bridge", "nv0", False, True)
    assert (bridge["mtu"], bridge["hairpinMode"]) == (1450, True)
    assert bridge["ipam"]["ranges"] == [[{"subnet": "10.244.1.0/24"}], [{"subnet": "fd01:0:0:1::/64"}]]
    assert bridge["ipam"]["routes"] == [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
    assert portmap["capabilities"] == {"portMappings": True}
    assert bandwidth["capabilities"] == {"bandwidth": True}
    assert sorted(entry.name for entry in directory.iterdir()) == FILES
    cni_config.remove(directory)
    cni_config.remove(directory)
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize("plugin", ["bridge", "host-local", "portmap", "bandwidth", "loopback"])
def test_the_plugins_of_the_system_speak_its_version(plugin: str) -> None:
    folder = next(path for path in (Path("/usr/lib/cni"), Path("/opt/cni/bin")) if path.is_dir())
    asked = subprocess.run(
        [folder / plugin],
        env={"CNI_COMMAND": "VERSION"},
        input=json.dumps({"cniVersion": cni_config.CNI_VERSION}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert cni_config.CNI_VERSION in json.loads(asked.stdout)["supportedVersions"]


@pytest.mark.parametrize(
    ("pods", "mtu"), [((ip_network("10.244.2.0/24"),), 1450), (POD_CIDR, 1400)], ids=["another CIDR", "another MTU"]
)
def test_a_change_rewrites_the_file(tmp_path: Path, pods: tuple[CIDR, ...], mtu: int) -> None:
    cni_config.write(tmp_path / "net.d", POD_CIDR, "nv0", 1450)
    assert cni_config.write(tmp_path / "net.d", pods, "nv0", mtu)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param([], "", id="none"),
        pytest.param(FILES, "", id="ours"),
        pytest.param(["05-calico.conflist", *FILES], "05-calico.conflist", id="before ours"),
        pytest.param(["05-calico.conflist"], "05-calico.conflist", id="before ours, which is not there"),
        pytest.param(["20-other.conf"], "", id="after ours"),
        pytest.param(["00-README.txt", "05-calico.conflist.bak", *FILES], "", id="no configurations"),
    ],
)
def test_another_network_comes_first(tmp_path: Path, names: list[str], expected: str) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert cni_config.foreign_config(tmp_path) == expected


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--pod-cidr=nonsense"], "nonsense"),
        (["--pod-cidr=10.0.0.1/24"], "10.0.0.1/24"),
        (["--pod-cidr=10.244.1.0/24,fd00::/64,x"], "'x' is no CIDR"),
        ([], "one of --api-server and --pod-cidr"),
        (["--api-server=127.0.0.1:7443"], "--api-server needs --node-name"),
        (["--pod-cidr=10.244.1.0/24", "--listen=127.0.0.1:0"], "--listen needs"),
        (["--pod-cidr=10.244.1.0/24", "--bridge=a-name-too-long"], "1 to 12 characters"),
        (["--pod-cidr=10.244.1.0/24", "--vxlan-vni=16777216"], "1 to 16777215"),
        (["--pod-cidr=10.244.1.0/24", "--encryption=wireguard"], "--encryption=wireguard needs --cluster-cidr"),
    ],
)
def test_options_that_make_no_sense(
    options: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        read([f"--cni-conf-dir={tmp_path}", *options])
    assert complaint in capsys.readouterr().err


def rules(pods: tuple[CIDR, ...], keep: frozenset[CIDR]) -> list[dict[str, Any]]:
    added = [command["add"] for command in masquerade.ruleset("t", pods, keep) if "add" in command]
    return [entry["rule"] for entry in added if "rule" in entry]


@pytest.mark.parametrize("pods", [POD_CIDR, BOTH, BOTH[1:]], ids=["IPv4", "both", "IPv6"])
def test_the_transaction_is_one_that_nft_accepts(pods: tuple[CIDR, ...]) -> None:
    # Overlapping ranges, as the cluster's and the nodes' are.
    keep = CLUSTER | {ip_network("10.244.7.0/24"), ip_network("192.168.1.2/32"), ip_network("fd01::/48")}
    commands = {"nftables": masquerade.ruleset("navarch_unit", pods, keep)}
    checked = subprocess.run(["nft", "-c", "-j", json.dumps(commands)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_pods_keep_their_address_within_the_cluster() -> None:
    (rule,) = rules(POD_CIDR, CLUSTER | {ip_network("192.168.1.2/32")})
    inside = rule["expr"][1]["match"]["right"]["set"]
    assert [(entry["prefix"]["addr"], entry["prefix"]["len"]) for entry in inside] == [
        ("10.244.0.0", 16),
        ("192.168.1.2", 32),
    ]
    assert rule["expr"][-1] == {"masquerade": {"flags": ["fully-random"]}}


def test_a_ruleset_is_known_by_its_comment() -> None:
    comments = {rules(POD_CIDR, keep)[0]["comment"] for keep in (frozenset(), CLUSTER, CLUSTER)}
    assert len(comments) == 2
