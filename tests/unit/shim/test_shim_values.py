"""References, signals, sandbox settings, records, filters: values in, values out."""

from pathlib import Path

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import errors, reference, signals, statuses
from navarch.runtime_shim.containerd import sandbox_files
from navarch.runtime_shim.containerd.daemon import Layout, config, prepare
from navarch.runtime_shim.containerd.images import model
from navarch.runtime_shim.records import (
    ContainerPhase,
    ContainerRecord,
    SandboxPhase,
    SandboxRecord,
    StateDir,
)
from navarch.runtime_shim.service import method_name

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.36", "docker.io/library/busybox:1.36"),
        ("user/image", "docker.io/user/image:latest"),
        ("localhost/image:x", "localhost/image:x"),
        ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
        ("registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.9"),
        ("index.docker.io/busybox", "docker.io/library/busybox:latest"),
        (f"busybox@{DIGEST}", f"docker.io/library/busybox@{DIGEST}"),
        (f"quay.io/a/b:tag@{DIGEST}", f"quay.io/a/b@{DIGEST}"),
    ],
)
def test_references(text: str, expected: str) -> None:
    assert str(reference.parse(text)) == expected
    assert str(reference.parse(expected)) == expected


@pytest.mark.parametrize(
    "text", ["", "Upper", "a//b", "busybox:", "busybox:ta/g", "a@sha256:12", "a b", "-x", "../x", "x:-"]
)
def test_broken_references(text: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="invalid image reference"):
        reference.parse(text)


def test_image_ids() -> None:
    assert reference.image_id(DIGEST) == reference.image_id("a" * 64) == DIGEST
    assert reference.image_id("busybox") == ""


@pytest.mark.parametrize(
    ("name", "number"),
    [("SIGTERM", 15), ("term", 15), ("9", 9), ("SIGRTMIN+3", 37), ("SIGRTMAX-1", 63)],
)
def test_signals(name: str, number: int) -> None:
    assert signals.number(name) == number


def test_every_signal_of_the_contract_is_known() -> None:
    for name in criv1.Signal.DESCRIPTOR.values_by_name:
        if name != "RUNTIME_DEFAULT":
            number = signals.number(name)
            assert signals.number(criv1.Signal.Name(signals.cri_signal(number))) == number


@pytest.mark.parametrize("name", ["SIGNOSUCH", "", "0", "999", "SIGRTMIN+x"])
def test_unknown_signals(name: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="unknown signal"):
        signals.number(name)


def test_stop_signal_of_the_pod_then_of_the_image() -> None:
    assert signals.stop_signal(criv1.Signal.SIGUSR1, "SIGQUIT") == 10
    assert signals.stop_signal(criv1.Signal.RUNTIME_DEFAULT, "SIGQUIT") == 3
    assert signals.stop_signal(criv1.Signal.RUNTIME_DEFAULT, "") == 15


def sandbox_config() -> criv1.PodSandboxConfig:
    return criv1.PodSandboxConfig(
        metadata=criv1.PodSandboxMetadata(name="web", namespace="default", uid="u", attempt=2),
        hostname="web-0",
        labels={"app": "web"},
        dns_config=criv1.DNSConfig(servers=["10.96.0.10"], searches=["a", "b"], options=["ndots:5"]),
        port_mappings=[
            criv1.PortMapping(container_port=80, host_port=8080),
            criv1.PortMapping(container_port=53, host_port=53, protocol=criv1.Protocol.UDP, host_ip="127.0.0.1"),
            criv1.PortMapping(container_port=9090),
        ],
    )


def test_network_capabilities() -> None:
    found = sandbox_files.network_capabilities(sandbox_config())
    assert found["portMappings"] == [
        {"hostPort": 8080, "containerPort": 80, "protocol": "tcp"},
        {"hostPort": 53, "containerPort": 53, "protocol": "udp", "hostIP": "127.0.0.1"},
    ]
    assert found["dns"] == {"servers": ["10.96.0.10"], "searches": ["a", "b"], "options": ["ndots:5"]}
    assert not any(sandbox_files.network_capabilities(criv1.PodSandboxConfig()).values())


def test_bandwidth() -> None:
    annotations = {"kubernetes.io/ingress-bandwidth": "10M", "kubernetes.io/egress-bandwidth": "1Ki"}
    burst = (1 << 32) - 1
    expected = {"ingressRate": 10_000_000, "ingressBurst": burst, "egressRate": 1024, "egressBurst": burst}
    assert sandbox_files.bandwidth(annotations) == expected
    assert sandbox_files.bandwidth({}) == {}
    with pytest.raises(errors.InvalidArgument, match="ingress bandwidth 'fast'"):
        sandbox_files.bandwidth({"kubernetes.io/ingress-bandwidth": "fast"})


def test_resolv_conf() -> None:
    text = sandbox_files.resolv_conf(sandbox_config().dns_config)
    assert text == "search a b\nnameserver 10.96.0.10\noptions ndots:5\n"
    assert sandbox_files.resolv_conf(criv1.DNSConfig()) == ""


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("net.ipv4.ip_forward", True),
        ("net/ipv4/conf/eth0.1/forwarding", True),
        ("kernel.shmmax", True),
        ("fs.mqueue.msg_max", True),
        ("kernel.panic", False),
        ("vm.swappiness", False),
    ],
)
def test_sysctls_of_the_sandbox_only(name: str, allowed: bool) -> None:
    config = sandbox_config()
    if allowed:
        sandbox_files.check_sysctl(name, config)
        return
    with pytest.raises(errors.InvalidArgument, match=name):
        sandbox_files.check_sysctl(name, config)


def test_host_namespaces_can_t_be_set() -> None:
    config = sandbox_config()
    config.linux.security_context.namespace_options.network = criv1.NamespaceMode.NODE
    assert sandbox_files.pinned_kinds(config) == ("ipc", "pid")
    with pytest.raises(errors.InvalidArgument, match="net"):
        sandbox_files.check_sysctl("net.ipv4.ip_forward", config)


def test_records_survive_the_disk(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    sandbox = SandboxRecord(
        "s1", sandbox_config(), 5, phase=SandboxPhase.READY, ips=("10.0.0.1",), network={"config": {}}
    )
    config = criv1.ContainerConfig(envs=[criv1.KeyValue(key="A", value=b"\xff\x00")], tty=True)
    container = ContainerRecord("c1", "s1", config, 6, phase=ContainerPhase.EXITED, exit_code=3, groups=(1, 2))
    for record in (sandbox, container):
        folder = state.sandbox(record.id) if isinstance(record, SandboxRecord) else state.container(record.id)
        folder.mkdir(parents=True)
        state.save(record)
    assert list(state.sandboxes()) == [("s1", sandbox)]
    assert list(state.containers()) == [("c1", container)]
    for damage in (b"", b"{", b"[]", b'{"id": "c1"}'):
        (state.container("c1") / "record.json").write_bytes(damage)
        assert list(state.containers()) == [("c1", None)]


def test_statuses_and_filters() -> None:
    sandbox = SandboxRecord("s1", sandbox_config(), 5, phase=SandboxPhase.READY, ips=("10.0.0.1", "fd00::1"))
    status = statuses.sandbox_status(sandbox)
    assert (status.network.ip, [ip.ip for ip in status.network.additional_ips]) == ("10.0.0.1", ["fd00::1"])
    ready = criv1.PodSandboxStateValue(state=criv1.PodSandboxState.SANDBOX_READY)
    stopped = criv1.PodSandboxStateValue(state=criv1.PodSandboxState.SANDBOX_NOTREADY)
    for wanted, expected in (
        (criv1.PodSandboxFilter(), True),
        (criv1.PodSandboxFilter(id="s", state=ready, label_selector={"app": "web"}), True),
        (criv1.PodSandboxFilter(id="x"), False),
        (criv1.PodSandboxFilter(state=stopped), False),
        (criv1.PodSandboxFilter(label_selector={"app": "db"}), False),
    ):
        assert statuses.sandbox_matches(sandbox, wanted) is expected


def test_chain_ids_follow_the_image_specification() -> None:
    first, second = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    assert model.chain_ids([first, second]) == [first, model.digest_of(f"{first} {second}".encode())]


@pytest.mark.parametrize("text", ["sha256:12", "sha512:" + "a" * 64, "a" * 64, "sha256:" + "G" * 64, "sha256:../../x"])
def test_only_true_digests_become_paths(text: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="unsupported digest"):
        model.checked_digest(text)


def test_daemon_configuration(tmp_path: Path) -> None:
    layout = Layout(tmp_path / 'quo"te')
    text = config(layout)
    assert 'root = "' in text
    assert '\\"te' in text
    assert '"io.containerd.grpc.v1.cri"' in text
    with pytest.raises(ValueError, match="too long"):
        prepare(Layout(tmp_path / ("x" * 100)))


@pytest.mark.parametrize(
    ("rpc", "method"), [("RunPodSandbox", "run_pod_sandbox"), ("Version", "version"), ("Import", "import_")]
)
def test_method_names(rpc: str, method: str) -> None:
    assert method_name(rpc) == method
