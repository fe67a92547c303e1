import ipaddress
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from navarch.cli.cluster import processes
from navarch.cli.cluster.certificates import ensure_certificates
from navarch.cli.cluster.host import free_cidr
from navarch.cli.cluster.layout import Asked, Layout
from navarch.cli.errors import UsageError
from navarch.services.base.tls import names_of

SIMULATED = Asked(runtime="simulated", pod_cidr="10.50.0.0/16", node_name="node-1")


@pytest.mark.parametrize(
    ("default", "in_use", "expected"),
    [
        ("10.244.0.0/16", [], "10.244.0.0/16"),
        ("10.244.0.0/16", ["10.244.0.0/24"], "10.243.0.0/16"),
        ("10.244.0.0/16", ["10.244.128.0/17", "10.243.0.0/16", "192.168.0.0/16"], "10.242.0.0/16"),
        ("10.244.0.0/16", ["10.192.0.0/10"], "10.191.0.0/16"),
        ("10.96.0.0/16", ["10.96.0.0/16"], "10.97.0.0/16"),
        ("10.96.0.0/16", ["10.96.0.0/12"], "10.112.0.0/16"),
    ],
)
def test_pods_and_services_get_networks_of_their_own(default: str, in_use: list[str], expected: str) -> None:
    assert free_cidr(default, (ipaddress.IPv4Network(network) for network in in_use), "--pod-cidr") == expected


def test_no_network_is_free() -> None:
    with pytest.raises(UsageError, match="--pod-cidr"):
        free_cidr("10.244.0.0/16", [ipaddress.IPv4Network("10.0.0.0/8")], "--pod-cidr")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A short path, as sockets below it must be; pytest's own grow with the name of the test."""
    with TemporaryDirectory(prefix="nv-") as directory:
        yield Path(directory)


def test_what_was_decided_is_kept(tmp_path: Path) -> None:
    assert Layout.load(tmp_path) is None
    layout = Layout.decide(tmp_path, SIMULATED)
    layout.save()
    assert Layout.load(tmp_path) == layout
    layout.require_same(Asked())
    layout.require_same(SIMULATED)
    with pytest.raises(UsageError, match="--port-offset 0, not 7"):
        layout.require_same(Asked(port_offset=7))


def test_a_runtime_that_is_run_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    endpoint = "unix:///run/containerd/containerd.sock"
    layout = Layout.decide(tmp_path, Asked(runtime_endpoint=endpoint, pod_cidr="10.50.0.0/16", node_name="node-1"))
    assert layout.runtime == "cri"
    names = [spec.name for spec in processes.specs(layout)]
    assert "kubelet" in names
    assert {"containerd", "runtime-shim", "network"}.isdisjoint(names)
    assert f"--runtime-endpoint={endpoint}" in processes.arguments(layout, "kubelet")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (Asked(runtime="cri"), "need each other"),
        (Asked(runtime="simulated", runtime_endpoint="unix:///x"), "need each other"),
        (Asked(runtime_endpoint="127.0.0.1:5000"), "accepted is unix:///PATH"),
    ],
)
def test_a_runtime_elsewhere_that_cannot_be(tmp_path: Path, asked: Asked, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Layout.decide(tmp_path, asked)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"unknown": 1}'])
def test_damaged_settings(tmp_path: Path, content: str) -> None:
    (tmp_path / "cluster.json").write_text(content)
    with pytest.raises(UsageError, match=r"cluster\.json is damaged"):
        Layout.load(tmp_path)


@pytest.mark.parametrize(
    ("asked", "option"),
    [
        (Asked(runtime="docker"), "--runtime"),
        (Asked(runtime="simulated", store_endpoints="10.0.0.1:2379"), "--store-ca"),
        (Asked(runtime="simulated", store_ca="/ca.crt"), "--store-endpoints"),
        (Asked(runtime="simulated", node_name="Node_1"), "--node-name"),
        (Asked(runtime="simulated", pod_cidr="10.0.0.1/16"), "--pod-cidr"),
        (Asked(runtime="simulated", pod_cidr="10.0.0.0/25"), "no room for a node"),
        (Asked(runtime="simulated", bind_address="host"), "--bind-address"),
        (Asked(runtime="simulated", history="an hour"), "--history"),
    ],
)
def test_what_cannot_be_asked(tmp_path: Path, asked: Asked, option: str) -> None:
    with pytest.raises(UsageError, match=option):
        Layout.decide(tmp_path, asked)


def test_all_addresses(tmp_path: Path) -> None:
    layout = Layout.decide(tmp_path, Asked("simulated", "0.0.0.0", 5, "10.50.0.0/16", node_name="node-1"))
    assert layout.listen("apiserver") == "0.0.0.0:7448"
    assert layout.address("apiserver") == "127.0.0.1:7448"
    assert layout.node_pod_cidr == "10.50.0.0/24"
    kubelet = processes.arguments(layout, "kubelet")
    assert "--api-server=127.0.0.1:7448" in kubelet
    assert "--listen=0.0.0.0:10255" in kubelet


def test_clusters_side_by_side_share_no_name(tmp_path: Path) -> None:
    one, two = (Layout.decide(tmp_path / name, SIMULATED) for name in ("one", "two"))
    assert one.bridge != two.bridge
    assert one.nft_table != two.nft_table
    assert len(one.bridge) <= 15


def test_only_own_files_are_deleted(tmp_path: Path) -> None:
    layout = Layout.decide(tmp_path / "data", SIMULATED)
    layout.pki.mkdir(parents=True)
    layout.save()
    other = tmp_path / "data" / "notes.txt"
    other.write_text("mine")
    layout.delete_files()
    assert list((tmp_path / "data").iterdir()) == [other]
    other.unlink()
    layout.delete_files()
    assert not (tmp_path / "data").exists()


def test_history_may_change(tmp_path: Path) -> None:
    layout = Layout.decide(tmp_path, SIMULATED)
    assert "--history=3600.0" in processes.arguments(layout, "apiserver")
    longer = Asked(history="90m")
    layout.require_same(longer)
    assert "--history=5400.0" in processes.arguments(layout.changed(longer), "apiserver")
    assert layout.changed(Asked()) == layout
    with pytest.raises(UsageError, match="--history"):
        layout.changed(Asked(history="long"))


@pytest.mark.parametrize(
    ("pods", "services", "message"),
    [
        ("10.50.0.0/16", "10.50.0.0/24", "overlaps"),
        ("10.50.0.0/16", "10.96.0.0/28", "too small"),
        ("10.50.0.0/16", "10.96.0.0/33", "--service-cidr"),
    ],
)
def test_services_need_room_of_their_own(tmp_path: Path, pods: str, services: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Layout.decide(tmp_path, Asked(runtime="simulated", pod_cidr=pods, service_cidr=services, node_name="node-1"))


@pytest.mark.parametrize(
    ("runtime", "bind_address", "node_address", "api"),
    [
        ("containerd", "127.0.0.1", "10.50.0.1", "127.0.0.1,10.50.0.1:6443"),
        ("containerd", "192.168.7.7", "192.168.7.7", "192.168.7.7:6443"),
        ("simulated", "127.0.0.1", "127.0.0.1", "127.0.0.1:6443"),
    ],
)
def test_pods_reach_the_node(tmp_path: Path, runtime: str, bind_address: str, node_address: str, api: str) -> None:
    layout = Layout(tmp_path, "node-1", runtime, bind_address, 0, "10.50.0.0/16", "10.96.0.0/16")
    assert layout.node_address == node_address
    assert layout.listen_to_pods("apiserver-rest") == api
    assert (layout.networks.api_address, layout.networks.dns_address) == ("10.96.0.1", "10.96.0.10")


BOTH = ("10.50.0.0/16,fd00:50::/56", "10.96.0.0/16,fd00:96::/112")


def test_both_versions_of_ip(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "node-1", "containerd", "127.0.0.1", 0, *BOTH)
    assert layout.node_addresses == ("10.50.0.1", "fd00:50::1")
    assert (layout.networks.api_address, layout.networks.dns_address) == ("10.96.0.1", "10.96.0.10")
    assert "--node-ip=10.50.0.1,fd00:50::1" in processes.arguments(layout, "kubelet")
    for service in ("proxy", "network", "controller-manager", "dns"):
        assert f"--cluster-cidr={BOTH[0]}" in processes.arguments(layout, service)
    assert f"--service-cidr={BOTH[1]}" in processes.arguments(layout, "apiserver")
    assert "announcer" not in [spec.name for spec in processes.specs(layout)]


@pytest.mark.parametrize(
    ("pods", "services", "message"),
    [
        ("fd00:50::/56", BOTH[1], "--pod-cidr 'fd00:50::/56': accepted is one IPv4 network"),
        ("10.50.0.0/16,10.51.0.0/16", BOTH[1], "--pod-cidr '10.50.0.0/16,10.51.0.0/16': accepted is one IPv4"),
        ("fd00:50::/56,10.50.0.0/16", BOTH[1], "IPv6 after it"),
        ("10.50.0.0/16,fd00:50::/72", BOTH[1], "no room for a node, which takes a /64"),
        ("10.50.0.0/16,fd00:50::/32", BOTH[1], "too large; accepted is a /48"),
        (BOTH[0], "10.96.0.0/16,fd00:96::/64", "too large; accepted is a /108"),
        (BOTH[0], "10.96.0.0/16,fd00:50::/112", "overlaps --pod-cidr fd00:50::/56"),
        ("10.50.0.0/16", BOTH[1], "needs a --pod-cidr of both"),
        (BOTH[0], "10.96.0.0/16,", "--service-cidr"),
    ],
)
def test_networks_that_cannot_be(tmp_path: Path, pods: str, services: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        Layout(tmp_path, "node-1", "containerd", "127.0.0.1", 0, pods, services).check()


def test_a_pool_for_load_balancers(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "node-1", "containerd", "127.0.0.1", 7, *BOTH)
    asked = Asked(load_balancer_pool="192.168.7.8-192.168.7.9,fd00:77::/124")
    layout.require_same(asked)
    changed = layout.changed(asked)
    assert "announcer" in [spec.name for spec in processes.specs(changed)]
    arguments = processes.arguments(changed, "cloud-controller")
    assert {"--load-balancer-pool=192.168.7.8-192.168.7.9", "--load-balancer-pool=fd00:77::/124"} <= {*arguments}
    assert "--heartbeat-port=7953" in processes.arguments(changed, "announcer")
    assert len(changed.announcer_link) <= 15
    assert changed.changed(Asked()) == changed
    assert changed.changed(Asked(load_balancer_pool="")) == layout


@pytest.mark.parametrize(
    ("pool", "message"),
    [
        ("192.168.7.9-192.168.7.8", "--load-balancer-pool '192.168.7.9-192.168.7.8' is no range of addresses"),
        ("10.96.7.0/24", "--load-balancer-pool 10.96.7.0/24 overlaps --service-cidr 10.96.0.0/16"),
        ("192.168.7.8/29,10.49.0.0-10.51.0.0", "overlaps --pod-cidr 10.50.0.0/16"),
        ("192.168.7.0/28", "holds the node's own address 192.168.7.7"),
    ],
)
def test_a_pool_that_cannot_be(tmp_path: Path, pool: str, message: str) -> None:
    layout = Layout(tmp_path, "node-1", "containerd", "192.168.7.7", 0, *BOTH)
    with pytest.raises(UsageError, match=re.escape(message)):
        layout.changed(Asked(load_balancer_pool=pool))


def test_what_serves_is_certified_anew_where_it_is_reached_at_another_address(tmp_path: Path) -> None:
    """As after an upgrade from a version whose nodes had no address of their own."""
    before = Layout(tmp_path, "node-1", "simulated", "127.0.0.1", 0, "10.50.0.0/16", "10.96.0.0/16")
    ensure_certificates(before)
    files = {path.name: path.read_bytes() for path in before.pki.iterdir()}
    ensure_certificates(before)
    assert {path.name: path.read_bytes() for path in before.pki.iterdir()} == files
    ensure_certificates(replace(before, runtime="containerd"))
    changed = {path.name for path in before.pki.iterdir() if path.read_bytes() != files[path.name]}
    assert {"kubelet.crt", "kubelet.key", "apiserver.crt", "apiserver.key"} <= changed
    assert changed.isdisjoint({"ca.crt", "ca.key", "sa.key", "admin.crt", "admin.key"})
    assert "10.50.0.1" in names_of((before.pki / "kubelet.crt").read_bytes())
    (before.pki / "kubelet.key").unlink()
    ensure_certificates(before)
    assert (before.pki / "kubelet.key").exists()
