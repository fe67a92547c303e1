"""CRI configurations of sandboxes and containers, admission, QoS, registry credentials, probe thresholds."""

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.admission import admit
from navarch.services.kubelet.core.cgroup_names import CgroupNames
from navarch.services.kubelet.core.container_config import Image, Run, container_config
from navarch.services.kubelet.core.dns import dns_config, dns_warnings
from navarch.services.kubelet.core.image_auth import credentials_for
from navarch.services.kubelet.core.linux_resources import container_resources, cpu_quota_us, cpu_shares
from navarch.services.kubelet.core.orders import Admitted, Rejected
from navarch.services.kubelet.core.paths import Layout
from navarch.services.kubelet.core.probing import ProbeState
from navarch.services.kubelet.core.qos import oom_score_adj, qos_class
from navarch.services.kubelet.core.references import ConfigError, HostDns, NodeContext
from navarch.services.kubelet.core.sandbox_config import (
    check_hostname,
    hosts_file,
    sandbox_config,
    sandbox_hostname,
)
from navarch.services.kubelet.core.security import container_security, namespace_options

MakePod = Callable[..., corev1.Pod]
LAYOUT = Layout(PurePosixPath("/var/lib/k"))
NODE = NodeContext(
    "n1",
    ("192.0.2.1",),
    4000,
    8 << 30,
    cluster_dns=("10.96.0.10",),
    host_dns=HostDns(("9.9.9.9",), ("lan",), ("timeout:1",)),
)


class Nothing:
    """A lookup that finds nothing."""

    def config_map(self, namespace: str, name: str) -> corev1.ConfigMap | None:
        return None

    def secret(self, namespace: str, name: str) -> corev1.Secret | None:
        return None

    def services(self) -> Sequence[corev1.Service]:
        return ()


def one(**fields: Any) -> list[dict[str, Any]]:
    return [{"name": "main", "image": "app:1", **fields}]


def resources(cpu: str = "", memory: str = "", *, of: str = "limits") -> dict[str, Any]:
    return {of: {key: value for key, value in {"cpu": cpu, "memory": memory}.items() if value}}


BOTH = {**resources("1", "1Gi"), **resources("1", "1Gi", of="requests")}


@pytest.mark.parametrize(
    ("held", "class_", "score", "parent"),
    [
        ({}, "BestEffort", 1000, "/kubepods/besteffort/poduid-web"),
        (BOTH, "Guaranteed", -997, "/kubepods/poduid-web"),
        (resources("1", "1Gi"), "Guaranteed", -997, "/kubepods/poduid-web"),
        (resources("1"), "Burstable", 999, "/kubepods/burstable/poduid-web"),
        (resources(memory="4Gi", of="requests"), "Burstable", 500, "/kubepods/burstable/poduid-web"),
        (resources(memory="8Gi", of="requests"), "Burstable", 3, "/kubepods/burstable/poduid-web"),
    ],
)
def test_quality_of_service(pod: MakePod, held: Any, class_: str, score: int, parent: str) -> None:
    made = pod(containers=one(resources=held))
    assert qos_class(made) == class_
    assert oom_score_adj(made, made.spec.containers[0], NODE.memory_bytes) == score
    assert CgroupNames().parent(made) == parent


@pytest.mark.parametrize(
    ("millicores", "shares", "quota"), [(0, 2, 0), (1, 2, 1000), (100, 102, 10_000), (1000, 1024, 100_000)]
)
def test_cpu_in_cgroup_terms(millicores: int, shares: int, quota: int) -> None:
    assert (cpu_shares(millicores), cpu_quota_us(millicores)) == (shares, quota)


def test_a_limit_alone_is_also_the_request(pod: MakePod) -> None:
    made = pod(containers=one(resources=resources("500m", "32Mi")))
    found = container_resources(made, made.spec.containers[0], NODE.memory_bytes)
    assert (found.cpu_quota, found.cpu_shares, found.memory_limit_in_bytes) == (50_000, 512, 32 << 20)


@pytest.mark.parametrize(
    ("spec", "servers", "searches", "options"),
    [
        ({}, ["10.96.0.10"], ["default.svc.cluster.local", "svc.cluster.local", "cluster.local", "lan"], ["ndots:5"]),
        ({"dnsPolicy": "Default"}, ["9.9.9.9"], ["lan"], ["timeout:1"]),
        ({"hostNetwork": True}, ["9.9.9.9"], ["lan"], ["timeout:1"]),
        (
            {
                "dnsPolicy": "None",
                "dnsConfig": {"nameservers": ["1.1.1.1"], "options": [{"name": "edns0"}]},
            },
            ["1.1.1.1"],
            [],
            ["edns0"],
        ),
        (
            {"dnsPolicy": "Default", "dnsConfig": {"searches": ["x"], "options": [{"name": "timeout", "value": "9"}]}},
            ["9.9.9.9"],
            ["lan", "x"],
            ["timeout:9"],
        ),
    ],
    ids=["cluster first", "default", "host network", "none", "merged"],
)
def test_dns(pod: MakePod, spec: Any, servers: Any, searches: Any, options: Any) -> None:
    found = dns_config(pod(**spec), NODE)
    assert (list(found.servers), list(found.searches), list(found.options)) == (servers, searches, options)


def test_huge_pages_that_are_not_asked_for_are_not_to_be_had(pod: MakePod) -> None:
    made = pod(containers=one(resources={"limits": {"hugepages-2Mi": "4Mi"}}))
    found = container_resources(made, made.spec.containers[0], NODE.memory_bytes, ("1Gi", "2Mi"))
    assert {(limit.page_size, limit.limit) for limit in found.hugepage_limits} == {("1GB", 0), ("2MB", 4 << 20)}


MANY = [f"s{number}.example" for number in range(40)]
LONG = [f"{number}{'y' * 249}" for number in range(9)]


@pytest.mark.parametrize(
    ("given", "servers", "searches", "told"),
    [
        ({"nameservers": ["1.1.1.1", "2.2.2.2"], "searches": ["a", "b", "a"]}, 2, ["a", "b"], []),
        (
            {"nameservers": ["1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"]},
            3,
            [],
            ["nameservers have been omitted, the applied nameserver line is: 1.1.1.1 2.2.2.2 3.3.3.3"],
        ),
        ({"searches": MANY}, 0, MANY[:32], ["search paths have been omitted, the applied search line is: s0.example "]),
        ({"searches": ["x" * 254, "a"]}, 0, ["a"], ["the applied search line is: a"]),
        (
            {"searches": [f"{n}{'y' * 249}" for n in range(9)]},
            0,
            [f"{n}{'y' * 249}" for n in range(8)],
            ["Search Line"],
        ),
    ],
    ids=["within", "servers", "searches", "one too long", "line too long"],
)
def test_limits_of_resolvers(pod: MakePod, given: Any, servers: int, searches: list[str], told: list[str]) -> None:
    made = pod(dnsPolicy="None", dnsConfig=given)
    found = dns_config(made, NODE)
    assert (len(found.servers), list(found.searches)) == (servers, searches)
    warnings = dns_warnings(made, NODE)
    assert [reason for reason, _ in warnings] == ["DNSConfigForming"] * len(told)
    assert all(words in message for words, (_, message) in zip(told, warnings, strict=True))


def test_a_node_without_a_cluster_resolver(pod: MakePod) -> None:
    node = replace(NODE, cluster_dns=())
    assert list(dns_config(pod(), node).servers) == ["9.9.9.9"]
    assert [reason for reason, _ in dns_warnings(pod(), node)] == ["MissingClusterDNS"]
    assert dns_warnings(pod(hostNetwork=True), node) == dns_warnings(pod(dnsPolicy="Default"), node) == []


@pytest.mark.parametrize(
    ("spec", "name", "refused"),
    [
        ({}, "web", False),
        ({"hostname": "a" * 63}, "a" * 63, False),
        ({"hostname": "a", "subdomain": "b", "setHostnameAsFQDN": True}, "a.b.default.svc.cluster.local", False),
        ({"hostname": "a" * 36, "subdomain": "b", "setHostnameAsFQDN": True}, "", False),
        ({"hostname": "a" * 37, "subdomain": "b", "setHostnameAsFQDN": True}, "", True),
        ({"hostnameOverride": "a" * 64, "hostname": "b", "subdomain": "c"}, "a" * 64, False),
        ({"hostNetwork": True}, "", False),
    ],
)
def test_host_names(pod: MakePod, spec: Any, name: str, refused: bool) -> None:
    made = pod(**spec)
    assert not name or sandbox_hostname(made, NODE) == name
    if refused:
        with pytest.raises(ConfigError, match=r"is too long \(64 characters is the max, 65 characters requested\)"):
            check_hostname(made, NODE)
    else:
        check_hostname(made, NODE)


def test_hosts_file(pod: MakePod) -> None:
    made = pod(hostname="db", subdomain="sub", hostAliases=[{"ip": "1.2.3.4", "hostnames": ["foo", "bar"]}])
    text = hosts_file(made, NODE, ("10.0.0.7",), "")
    assert text.startswith("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n")
    assert "10.0.0.7\tdb.sub.default.svc.cluster.local\tdb\n" in text
    assert text.endswith("# Entries added by HostAliases.\n1.2.3.4\tfoo\tbar\n")
    assert "192.0.2.5 host" in hosts_file(pod(hostNetwork=True), NODE, (), "192.0.2.5 host\n")


def test_sandbox_config(pod: MakePod) -> None:
    made = pod(
        "x" * 70,
        shareProcessNamespace=True,
        containers=one(ports=[{"containerPort": 80, "hostPort": 8080, "protocol": "UDP"}]),
    )
    config = sandbox_config(made, 2, LAYOUT, NODE)
    assert (config.metadata.attempt, len(config.hostname)) == (2, 63)
    assert config.labels["io.kubernetes.pod.uid"] == made.metadata.uid
    assert config.log_directory == f"/var/lib/k/logs/default_{made.metadata.name}_{made.metadata.uid}"
    assert config.port_mappings[0] == criv1.PortMapping(protocol=criv1.UDP, container_port=80, host_port=8080)
    assert config.linux.security_context.namespace_options.pid == criv1.POD


@pytest.mark.parametrize(
    ("spec", "network", "pid", "ipc"),
    [
        ({}, criv1.POD, criv1.CONTAINER, criv1.POD),
        ({"hostNetwork": True}, criv1.NODE, criv1.CONTAINER, criv1.POD),
        ({"hostPID": True}, criv1.POD, criv1.NODE, criv1.POD),
        ({"hostIPC": True}, criv1.POD, criv1.CONTAINER, criv1.NODE),
    ],
)
def test_namespaces(pod: MakePod, spec: Any, network: int, pid: int, ipc: int) -> None:
    found = namespace_options(pod(**spec))
    assert (found.network, found.pid, found.ipc) == (network, pid, ipc)


def test_container_config(pod: MakePod) -> None:
    made = pod(containers=one(command=["run", "$(X)"], args=["$(NOPE)"], env=[{"name": "X", "value": "1"}], tty=True))
    run = Run(3, Image("sha256:9"), ("10.0.0.7",), [criv1.Mount(container_path="/v", host_path="/h")])
    config = container_config(made, made.spec.containers[0], run, Nothing(), NODE)
    assert (list(config.command), list(config.args)) == (["run", "1"], ["$(NOPE)"])
    assert (config.metadata.attempt, config.log_path, config.tty) == (3, "main/3.log", True)
    assert (config.image.image, config.image.user_specified_image) == ("sha256:9", "app:1")
    assert config.annotations["io.kubernetes.container.restartCount"] == "3"
    assert "/proc/kcore" in config.linux.security_context.masked_paths


def security(pod: MakePod, own: Any, shared: Any, uid: int | None = None, user: str = "") -> Any:
    made = pod(containers=one(securityContext=own), securityContext=shared)
    return container_security(made, made.spec.containers[0], uid, user)


def test_a_containers_own_security_wins(pod: MakePod) -> None:
    found = security(pod, {"runAsUser": 1}, {"runAsUser": 2, "runAsGroup": 3, "fsGroup": 4, "supplementalGroups": [5]})
    assert (found.run_as_user.value, found.run_as_group.value) == (1, 3)
    assert list(found.supplemental_groups) == [5, 4]


def test_security_passed_through(pod: MakePod) -> None:
    own = {
        "privileged": True,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"add": ["NET_ADMIN"], "drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    found = security(pod, own, {})
    assert (found.privileged, found.readonly_rootfs, found.no_new_privs) == (True, True, True)
    assert list(found.capabilities.add_capabilities) == ["NET_ADMIN"]
    assert found.seccomp.profile_type == criv1.SecurityProfile.RuntimeDefault
    assert not found.masked_paths


@pytest.mark.parametrize(
    ("own", "uid", "user", "message"),
    [
        ({"runAsNonRoot": True}, 0, "", "image will run as root"),
        ({"runAsNonRoot": True}, None, "", "image will run as root"),
        ({"runAsNonRoot": True}, None, "web", "non-numeric user"),
        ({"runAsNonRoot": True, "runAsUser": 0}, 5, "", "run as user is root"),
        ({"runAsNonRoot": True}, 5, "", ""),
        ({"runAsNonRoot": True, "runAsUser": 7}, 0, "", ""),
        ({}, 0, "", ""),
    ],
)
def test_run_as_non_root(pod: MakePod, own: Any, uid: int | None, user: str, message: str) -> None:
    if not message:
        security(pod, own, {}, uid, user)
        return
    with pytest.raises(ConfigError, match=message):
        security(pod, own, {}, uid, user)


def a_node(**labels: str) -> corev1.Node:
    node = corev1.Node()
    node.metadata.labels.update(labels)
    node.metadata.name = "n1"
    for name, text in {"cpu": "2", "memory": "1Gi", "pods": "3", "x.io/fpga": "1"}.items():
        node.status.allocatable[name].string = text
    return node


def affinity(member: str, key: str, operator: str, *values: str) -> dict[str, Any]:
    term = {member: [{"key": key, "operator": operator, "values": list(values)}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}


PORT = one(ports=[{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}])


@pytest.mark.parametrize(
    ("spec", "others", "reason", "message"),
    [
        ({}, [], "", ""),
        ({"nodeSelector": {"disk": "ssd"}}, [], "", ""),
        ({"nodeSelector": {"disk": "hdd"}}, [], "NodeAffinity", "didn't match Pod's node affinity/selector"),
        ({"os": {"name": "windows"}}, [], "PodOSNotSupported", "OS field"),
        ({"containers": PORT}, [{"containers": PORT}], "NodePorts", "free ports"),
        ({"containers": PORT}, [], "", ""),
        (
            {"containers": one(resources=resources("1500m", of="requests"))},
            [{"containers": one(resources=resources("1", of="requests"))}],
            "OutOfcpu",
            "Pod was rejected: Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000",
        ),
        ({}, [{}, {}, {}], "OutOfpods", "requested: 1, used: 3, capacity: 3"),
        ({"containers": one(resources={"requests": {"x.io/gpu": "1"}})}, [], "", ""),
        ({"containers": one(resources={"requests": {"x.io/fpga": "2"}})}, [], "OutOfx.io/fpga", "capacity: 1"),
        (
            {"containers": one(resources={"requests": {"hugepages-2Mi": "2Mi"}})},
            [],
            "OutOfhugepages-2Mi",
            "capacity: 0",
        ),
        ({"affinity": affinity("matchExpressions", "disk", "In", "ssd", "nvme")}, [], "", ""),
        ({"affinity": affinity("matchExpressions", "disk", "DoesNotExist")}, [], "NodeAffinity", "Predicate NodeAff"),
        ({"affinity": affinity("matchFields", "metadata.name", "In", "n1")}, [], "", ""),
        (
            {"affinity": affinity("matchFields", "metadata.name", "NotIn", "n1")},
            [],
            "NodeAffinity",
            "affinity/selector",
        ),
        (
            {"containers": one(resources=resources("3", of="requests")), "nodeSelector": {"disk": "hdd"}},
            [],
            "OutOfcpu",
            "requested: 3000, used: 0, capacity: 2000",
        ),
        (
            {"securityContext": {"supplementalGroupsPolicy": "Strict"}},
            [],
            "SupplementalGroupsPolicyNotSupported",
            "Pod was rejected: SupplementalGroupsPolicy=Strict is not supported in this node",
        ),
    ],
)
def test_admission(pod: MakePod, spec: Any, others: list[Any], reason: str, message: str) -> None:
    decision = admit(pod(**spec), a_node(disk="ssd"), [pod(f"o{index}", **other) for index, other in enumerate(others)])
    if not reason:
        assert decision == Admitted()
        return
    assert isinstance(decision, Rejected)
    assert decision.reason == reason
    assert message in decision.message


@pytest.mark.parametrize(
    ("effect", "tolerations", "static", "refused"),
    [
        ("NoSchedule", [], False, False),
        ("NoExecute", [], False, True),
        ("NoExecute", [], True, False),
        ("NoExecute", [{"key": "k", "operator": "Exists"}], False, False),
        ("NoExecute", [{"key": "k", "operator": "Equal", "value": "other"}], False, True),
    ],
)
def test_taints_at_admission(pod: MakePod, effect: str, tolerations: list[Any], static: bool, refused: bool) -> None:
    made, node = pod(tolerations=tolerations), a_node()
    node.spec.taints.add(key="k", value="v", effect=effect)
    if static:
        made.metadata.annotations["kubernetes.io/config.source"] = "file"
    message = "Pod was rejected: Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate"
    assert admit(made, node, []) == (Rejected("TaintToleration", message) if refused else Admitted())


def test_a_pod_that_is_labelled_for_another_system(pod: MakePod) -> None:
    made = pod()
    made.metadata.labels["kubernetes.io/os"] = "windows"
    decision = admit(made, a_node(), [])
    assert isinstance(decision, Rejected)
    assert decision.reason == "PodOSSelectorNodeLabelDoesNotMatch"


def a_secret(**entries: Any) -> corev1.Secret:
    return corev1.Secret(data={".dockerconfigjson": json.dumps({"auths": entries}).encode()})


HUB = {"https://index.docker.io/v1/": {"auth": base64.b64encode(b"me:pw").decode()}}


@pytest.mark.parametrize(
    ("image", "entries", "user"),
    [
        ("busybox", HUB, "me"),
        ("docker.io/library/busybox:1", HUB, "me"),
        ("quay.io/a/b", HUB, None),
        ("r.io:5000/a/b@sha256:1", {"r.io:5000": {"username": "u", "password": "p"}}, "u"),
        ("r.io/team/app", {"r.io": {"username": "any"}, "r.io/team": {"username": "team"}}, "team"),
        ("r.io/teams/app", {"r.io/team": {"username": "team"}}, None),
    ],
)
def test_registry_credentials(image: str, entries: Any, user: str | None) -> None:
    found = credentials_for(image, [corev1.Secret(data={".dockerconfigjson": b"{broken"}), a_secret(**entries)])
    assert (found.username if found else None) == user


@pytest.mark.parametrize(
    ("results", "verdicts"),
    [
        ("+", [True]),
        ("--+", [None, None, True]),
        ("---", [None, None, False]),
        ("+--+---", [True, None, None, None, None, None, False]),
        ("+---+", [True, None, None, False, True]),
    ],
)
def test_probe_thresholds(results: str, verdicts: list[bool | None]) -> None:
    state = ProbeState.of(corev1.Probe(failure_threshold=3))
    assert [state.healthy if state.result(mark == "+") else None for mark in results] == verdicts
