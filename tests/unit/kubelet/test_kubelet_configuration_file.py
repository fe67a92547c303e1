"""What a kubelet is told: by its command line, by its configuration file, and by both."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.command_line import read
from navarch.services.kubelet.config import Config
from navarch.services.kubelet.configuration import configuration
from navarch.services.kubelet.configuration_file import FIELDS, TYPE_META
from navarch.services.kubelet.node.pod_network import PodNetwork
from navarch.services.kubelet.node.status import Reservations, most_pods
from navarch.services.kubelet.runtime import RuntimeFailure

REQUIRED = (
    "--api-server=127.0.0.1:7443",
    "--ca=ca.pem",
    "--cert=cert.pem",
    "--key=key.pem",
    "--root-dir=/kubelet",
    "--node-name=n1",
)
ENDPOINT = "--runtime-endpoint=unix:///run/c.sock"
Take = Callable[..., Config]


@pytest.fixture
def take(tmp_path: Path) -> Take:
    """Read a file with these fields, and options."""

    def read_both(fields: dict[str, Any], *options: str, drop_ins: dict[str, dict[str, Any]] | None = None) -> Config:
        path = tmp_path / "kubelet.yaml"
        path.write_text(yaml.safe_dump({**TYPE_META, **fields}))
        folder = tmp_path / "more"
        folder.mkdir(exist_ok=True)
        for name, changes in (drop_ins or {}).items():
            (folder / name).write_text(json.dumps({**TYPE_META, **changes}))
        return read([*REQUIRED, ENDPOINT, f"--config={path}", f"--config-dir={folder}", *options])[0]

    return read_both


def by_options(*options: str) -> Config:
    return read([*REQUIRED, ENDPOINT, *options])[0]


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({}, ()),
        ({"maxPods": 20, "podsPerCore": 4}, ("--max-pods=20", "--pods-per-core=4")),
        ({"address": "0.0.0.0", "port": 1}, ("--listen=0.0.0.0:1",)),
        ({"address": "::"}, ("--listen=[::]:10250",)),
        (
            {"clusterDNS": ["10.0.0.1", "10.0.0.2"], "clusterDomain": "c"},
            ("--cluster-dns=10.0.0.1,10.0.0.2", "--cluster-domain=c"),
        ),
        (
            {"evictionHard": {"memory.available": "1Gi", "nodefs.available": "5%"}},
            ("--eviction-hard=memory.available<1Gi,nodefs.available<5%",),
        ),
        (
            {"evictionSoft": {"memory.available": "2Gi"}, "evictionSoftGracePeriod": {"memory.available": "1m30s"}},
            ("--eviction-soft=memory.available<2Gi", "--eviction-soft-grace-period=memory.available=1m30s"),
        ),
        (
            {"kubeReserved": {"cpu": "100m"}, "systemReserved": {"cpu": "200m", "memory": "1Gi"}},
            ("--kube-reserved=cpu=100m", "--system-reserved=cpu=200m,memory=1Gi"),
        ),
        (
            {
                "registerWithTaints": [
                    {"key": "a", "value": "b", "effect": "NoSchedule"},
                    {"key": "c", "effect": "NoExecute"},
                ]
            },
            ("--register-with-taints=a=b:NoSchedule,c:NoExecute",),
        ),
        ({"registerNode": False}, ("--register-node=false",)),
        ({"authentication": {"anonymous": {"enabled": True}}}, ("--anonymous-auth",)),
        ({"authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}}}, ()),
        (
            {"shutdownGracePeriod": "30s", "shutdownGracePeriodCriticalPods": "10s"},
            ("--shutdown-grace-period=30s", "--shutdown-grace-period-critical-pods=10s"),
        ),
        (
            {"shutdownGracePeriodByPodPriority": [{"priority": 0, "shutdownGracePeriodSeconds": 20}]},
            ("--shutdown-grace-period-by-pod-priority=0=20",),
        ),
        (
            {"staticPodPath": "/etc/m", "fileCheckFrequency": "5s", "httpCheckFrequency": "1m"},
            ("--pod-manifest-path=/etc/m", "--file-check-frequency=5s", "--http-check-frequency=1m"),
        ),
        (
            {"staticPodURL": "http://x/y", "staticPodURLHeader": {"A": ["1", "2"]}},
            ("--manifest-url=http://x/y", "--manifest-url-header=A:1", "--manifest-url-header=A:2"),
        ),
        (
            {"tlsCertFile": "/c", "tlsPrivateKeyFile": "/k", "authentication": {"x509": {"clientCAFile": "/a"}}},
            ("--tls-cert-file=/c", "--tls-private-key-file=/k", "--client-ca-file=/a"),
        ),
        (
            {
                "cpuManagerPolicy": "static",
                "cpuManagerPolicyOptions": {"full-pcpus-only": "true", "strict-cpu-reservation": "false"},
                "cpuManagerReconcilePeriod": "5s",
                "reservedSystemCPUs": "0",
            },
            (
                "--cpu-manager-policy=static",
                "--cpu-manager-policy-options=full-pcpus-only=true",
                "--cpu-manager-reconcile-period=5s",
                "--reserved-cpus=0",
            ),
        ),
        ({"enforceNodeAllocatable": ["none"]}, ("--enforce-node-allocatable=none",)),
        # As kubeadm writes it: "by default", and what holds in any case.
        (
            {
                "fileCheckFrequency": "0s",
                "imageMinimumGCAge": "0s",
                "cpuManagerPolicy": "none",
                "resolvConf": "",
                "authorization": {"mode": "Webhook", "webhook": {"cacheAuthorizedTTL": "0s"}},
            },
            (),
        ),
    ],
)
def test_a_field_says_what_its_option_says(take: Take, fields: dict[str, Any], options: tuple[str, ...]) -> None:
    assert take(fields) == by_options(*options)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"maxPod": 3}, "maxPod: unknown field"),
        ({"authentication": {"x509": {"clientCAPath": "/x"}}}, "authentication.x509.clientCAPath: unknown field"),
        ({"maxPods": "many"}, "maxPods: found 'many', expected a whole number"),
        ({"maxPods": -1}, 'maxPods: "-1" must be a non-negative integer'),
        ({"registerNode": "yes"}, "registerNode: found 'yes', expected true or false"),
        ({"clusterDNS": "10.0.0.1"}, "clusterDNS: found '10.0.0.1', expected a list of strings"),
        ({"evictionHard": ["x"]}, "evictionHard: found ['x'], expected a map of strings"),
        ({"evictionHard": {"moon.available": "1"}}, "unsupported eviction signal moon.available"),
        ({"kubeReserved": {"gpu": "1"}}, 'kubeReserved: cannot reserve "gpu" resource'),
        ({"fileCheckFrequency": "soon"}, 'fileCheckFrequency: invalid duration "soon"'),
        ({"registerWithTaints": [{"key": "a", "effect": "Never"}]}, 'registerWithTaints: invalid taint "a=:Never"'),
        (
            {"memoryManagerPolicy": "Static"},
            "memoryManagerPolicy: found 'Static', which cannot be had here; accepted is 'None'",
        ),
        (
            {"topologyManagerPolicy": "best-effort"},
            "topologyManagerPolicy: found 'best-effort', which cannot be had here; accepted is 'none'",
        ),
        (
            {"topologyManagerScope": "pod"},
            "topologyManagerScope: found 'pod', which cannot be had here; accepted is 'container'",
        ),
        ({"cpuManagerPolicy": "static"}, "--cpu-manager-policy static: the host needs CPUs of its own, found none"),
        ({"cpuManagerPolicy": "dynamic"}, "cpuManagerPolicy: invalid choice: 'dynamic' (choose from 'none', 'static')"),
        (
            {"cpuManagerPolicyOptions": {"align-by-socket": "true"}},
            'cpuManagerPolicyOptions: "align-by-socket": no such option here; accepted are full-pcpus-only, strict-cpu',
        ),
        ({"authorization": {"mode": "AlwaysAllow"}}, "authorization.mode: found 'AlwaysAllow'"),
        ({"enableServer": False}, "enableServer: found False"),
        ({"kind": "Config"}, "kind: found 'Config', expected 'KubeletConfiguration'"),
        (
            {"enforceNodeAllocatable": ["kube-reserved"]},
            "names kube-reserved: --kube-reserved-cgroup must say which group",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(
    take: Take, capsys: pytest.CaptureFixture[str], fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(SystemExit):
        take(fields)
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--node-labels=kubernetes.io/role=x", "unknown 'kubernetes.io' or 'k8s.io' labels"),
        ("--register-with-taints=a=b", 'invalid taint "a=b"'),
        ("--register-with-taints=a=b:NoSchedule,a=c:NoSchedule", "duplicated taints with the same key and effect"),
        ("--node-ip=192.0.2.1,192.0.2.2", "expected one address, or one of each family"),
        ("--node-ip=here", '"here" is no IP address'),
        ("--hostname-override= ", "may not be empty"),
        ("--cpu-manager-policy=static", "accepted are --reserved-cpus, or cpu of --kube-reserved or --system-reserved"),
        ("--cpu-manager-policy-options=full-pcpus-only=yes", 'full-pcpus-only: "yes" is neither true nor false'),
        ("--cpu-manager-policy-options=full-pcpus-only=true", "only with --cpu-manager-policy static, found none"),
        (
            "--cpu-manager-policy-options=align-by-socket=true",
            '"align-by-socket": no such option here',
        ),
        ("--cpu-manager-reconcile-period=0s", "--cpu-manager-reconcile-period: found 0s, must be more than 0"),
        ("--memory-manager-policy=Static", "--memory-manager-policy: invalid choice: 'Static' (choose from 'None')"),
        ("--topology-manager-policy=restricted", "--topology-manager-policy: invalid choice: 'restricted'"),
        ("--reserved-cpus=3-1", '"3-1" is no list of CPUs'),
        ("--reserved-cpus=0,9999", "the host has no CPUs 9999"),
        ("--kube-reserved=cpu", "expected RESOURCE=QUANTITY"),
        ("--enforce-node-allocatable=none,pods", "accepted are pods, system-reserved, kube-reserved, or none alone"),
        ("--manifest-url=ftp://x", '"ftp://x" is no URL of http or https'),
        ("--http-check-frequency=0s", "must be more than 0"),
        ("--config=/no/such/file", "/no/such/file: "),
        ("--config-dir=/no/such", "--config-dir /no/such: no such directory"),
    ],
)
def test_options_that_make_no_sense_are_refused(capsys: pytest.CaptureFixture[str], option: str, words: str) -> None:
    with pytest.raises(SystemExit):
        by_options(option)
    assert words in capsys.readouterr().err


def test_options_win_over_the_file_and_drop_ins_change_it(take: Take) -> None:
    fields = {
        "maxPods": 10,
        "clusterDomain": "a",
        "evictionHard": {"memory.available": "1Gi"},
        "clusterDNS": ["1.1.1.1"],
    }
    drop_ins = {
        "20-last.conf": {"maxPods": 30, "evictionHard": {"nodefs.available": "5%"}},
        "10-first.conf": {"maxPods": 20, "clusterDNS": ["2.2.2.2"]},
        "30-other.yaml": {"maxPods": 40},
    }
    config = take(fields, "--cluster-domain=b", drop_ins=drop_ins)
    hard = "--eviction-hard=memory.available<1Gi,nodefs.available<5%"
    assert config == by_options("--max-pods=30", "--cluster-domain=b", "--cluster-dns=2.2.2.2", hard)


def test_the_endpoint_of_the_runtime_may_stand_in_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read(REQUIRED)
    assert "the following arguments are required: --runtime-endpoint" in capsys.readouterr().err
    path = tmp_path / "k.yaml"
    path.write_text(yaml.safe_dump({**TYPE_META, "containerRuntimeEndpoint": "unix:///x"}))
    assert read([*REQUIRED, f"--config={path}"])[0].runtime_endpoint == "unix:///x"


def test_what_configz_shows_can_be_given_as_a_file(take: Take) -> None:
    config = by_options(
        "--max-pods=7", "--eviction-soft=memory.available<2Gi", "--eviction-soft-grace-period=memory.available=90s",
        "--register-with-taints=a=b:NoSchedule", "--shutdown-grace-period=30s", "--reserved=cpu=250m,memory=1Gi",
        "--eviction-minimum-reclaim=nodefs.available=5%", "--provider-id=x://y", "--image-maximum-gc-age=1h",
        "--kube-reserved=cpu=100m",
        "--reserved-cpus=0", "--cpu-manager-policy=static", "--cpu-manager-policy-options=strict-cpu-reservation=true",
    )  # fmt: skip
    shown = configuration(config)
    assert configuration(take(shown)) == shown
    assert set(FIELDS) & set(shown) > {"maxPods", "evictionSoft", "registerWithTaints"}


def test_configz_shows_what_is_reserved_as_it_was_given() -> None:
    shown = configuration(
        by_options(
            "--reserved-cpus=0-1", "--kube-reserved=cpu=300m,memory=1Gi", "--system-reserved=cpu=1", "--reserved=pid=10"
        )
    )
    assert shown["kubeReserved"] == {"cpu": "300m", "memory": str(1 << 30)}
    assert shown["systemReserved"] == {"cpu": "1000m", "pid": "10"}
    assert shown["reservedSystemCPUs"] == "0-1"


def test_reserved_cpus_are_what_is_reserved_of_the_cpu() -> None:
    config = by_options("--reserved-cpus=0", "--kube-reserved=cpu=300m,memory=1Gi", "--system-reserved=cpu=1")
    assert config.reserved == Reservations(1000, 1 << 30)


@pytest.mark.parametrize(("limit", "per_core", "most"), [(110, 0, 110), (110, 10, 40), (30, 10, 30), (0, 10, 0)])
def test_pods_per_core(limit: int, per_core: int, most: int) -> None:
    assert most_pods(limit, per_core, 4) == most


@pytest.mark.parametrize(
    ("given", "nodes", "told"),
    [
        ("10.1.0.0/24", [{"pod_cidr": "10.2.0.0/24"}], ["10.1.0.0/24"]),
        ("", [{}, {"pod_cidr": "10.2.0.0/24"}], ["10.2.0.0/24"]),
        ("", [{"pod_cidrs": ["10.2.0.0/24", "fd00::/64"]}] * 2, ["10.2.0.0/24,fd00::/64"]),
        ("", [{}], []),
    ],
)
async def test_the_runtime_is_told_the_pod_network(given: str, nodes: list[Any], told: list[str]) -> None:
    runtime = FlakyRuntime(len(told))
    network = PodNetwork(runtime, Quick(), given)  # type: ignore[arg-type]
    for node in nodes:
        network.saw(corev1.Node(spec=corev1.NodeSpec(**node)))
    task = asyncio.create_task(network.run())
    await runtime.done.wait()
    task.cancel()
    assert runtime.told == told


class FlakyRuntime:
    """Fails at first. done: it has been told so often."""

    def __init__(self, expected: int) -> None:
        self.told: list[str] = []
        self.expected = expected
        self.failed = False
        self.done = asyncio.Event()
        if not expected:
            self.done.set()

    async def set_pod_cidr(self, pod_cidr: str) -> None:
        if not self.failed:
            self.failed = True
            raise RuntimeFailure(grpc.StatusCode.UNAVAILABLE, "not yet")
        self.told.append(pod_cidr)
        if len(self.told) == self.expected:
            self.done.set()


class Quick:
    """A clock that does not wait."""

    async def sleep(self, _: float) -> None:
        await asyncio.sleep(0)
