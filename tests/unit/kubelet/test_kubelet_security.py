"""What a node lets Pods do to the kernel."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core import apparmor
from navarch.services.kubelet.core.container_config import Image, Run, container_config
from navarch.services.kubelet.core.orders import Rejected
from navarch.services.kubelet.core.paths import Layout
from navarch.services.kubelet.core.references import ConfigError, NodeContext
from navarch.services.kubelet.core.sandbox_config import sandbox_config
from navarch.services.kubelet.core.security import container_security
from navarch.services.kubelet.core.sysctls import SysctlError, SysctlPolicy, normal_name
from navarch.services.kubelet.core.user_namespaces import IDS, check_handler, free_block
from navarch.services.kubelet.user_namespaces import UserNamespaces

from .test_kubelet_environment import Objects

MakePod = Callable[..., corev1.Pod]
NODE = NodeContext("n1", ("192.0.2.1",), 4000, 8 << 30)


@pytest.mark.parametrize(
    ("name", "normal"),
    [
        ("kernel.shm_rmid_forced", "kernel.shm_rmid_forced"),
        ("kernel/shm_rmid_forced", "kernel.shm_rmid_forced"),
        ("net.ipv4.conf.eth0/1.arp", "net.ipv4.conf.eth0/1.arp"),
        ("net/ipv4/conf/eth0.1/arp", "net.ipv4.conf.eth0/1.arp"),
    ],
)
def test_names_of_sysctls(name: str, normal: str) -> None:
    assert normal_name(name) == normal


@pytest.mark.parametrize(
    ("allowed", "name", "spec", "cause"),
    [
        ([], "net.ipv4.ip_local_port_range", {}, None),
        ([], "net/ipv4/ip_local_port_range", {}, None),
        ([], "net.core.somaxconn", {}, '"net.core.somaxconn" not allowlisted'),
        (["net.core.somaxconn"], "net.core.somaxconn", {}, None),
        (["net.core.*"], "net/core/somaxconn", {}, None),
        (["net.core.*"], "net.ipv4.tcp_mem", {}, '"net.ipv4.tcp_mem" not allowlisted'),
        (["kernel.msg*"], "kernel.msgmax", {}, None),
        (
            ["kernel.msg*"],
            "kernel.msgmax",
            {"hostIPC": True},
            'sysctl "kernel.msgmax" not allowed with host ipc enabled',
        ),
        (
            [],
            "net.ipv4.tcp_rmem",
            {"hostNetwork": True},
            'sysctl "net.ipv4.tcp_rmem" not allowed with host net enabled',
        ),
    ],
)
def test_sysctls(pod: MakePod, allowed: list[str], name: str, spec: Any, cause: str | None) -> None:
    made = pod(securityContext={"sysctls": [{"name": name, "value": "1"}]}, **spec)
    expected = Rejected("SysctlForbidden", f"Pod was rejected: forbidden sysctl: {cause}") if cause else None
    assert SysctlPolicy.of(allowed).refuse(made) == expected


@pytest.mark.parametrize("pattern", ["vm.swappiness", "kernel.*", "*", "kernel.sem.x", "Net.core", "net.*.x", ".net"])
def test_patterns_that_a_node_cannot_allow(pattern: str) -> None:
    with pytest.raises(SysctlError, match="not known to be namespaced|must have max 253 characters and match regex"):
        SysctlPolicy.of([pattern])


@pytest.mark.parametrize(
    ("shared", "own", "refused"),
    [
        ("", "", False),
        ("Unconfined", "", False),
        ("RuntimeDefault", "", True),
        ("RuntimeDefault", "Unconfined", False),
        ("", "Localhost", True),
    ],
)
def test_apparmor(pod: MakePod, shared: str, own: str, refused: bool) -> None:
    container = {"name": "main", "image": "a", "securityContext": {"appArmorProfile": {"type": own}} if own else {}}
    context = {"appArmorProfile": {"type": shared}} if shared else {}
    made = pod(containers=[container], securityContext=context)
    assert apparmor.refuse(made, enabled=True) is None
    message = "Pod was rejected: Cannot enforce AppArmor: AppArmor is not enabled on the host"
    assert apparmor.refuse(made, enabled=False) == (Rejected("AppArmor", message) if refused else None)


def test_seccomp_profiles_of_the_node(pod: MakePod) -> None:
    made = pod(securityContext={"seccompProfile": {"type": "Localhost", "localhostProfile": "a/b.json"}})
    container = made.spec.containers[0]
    profile = container_security(made, container, None, "", seccomp_root="/k/seccomp").seccomp
    assert (profile.profile_type, profile.localhost_ref) == (criv1.SecurityProfile.Localhost, "/k/seccomp/a/b.json")
    made.spec.security_context.seccomp_profile.localhost_profile = ""
    with pytest.raises(ConfigError, match="localhostProfile must be set"):
        container_security(made, container, None, "")


def test_each_pod_has_ids_of_its_own_as_long_as_it_is_there(pod: MakePod, tmp_path: Path) -> None:
    layout = Layout(PurePosixPath(tmp_path))
    pods = [pod(name, hostUsers=False) for name in ("a", "b", "c")]
    first, second = (UserNamespaces(layout).of(one) for one in pods[:2])
    assert first is not None
    assert second is not None
    assert [(one.host_id, one.container_id, one.length) for one in first.uids] == [(IDS, 0, IDS)]
    assert [one.host_id for one in second.gids] == [2 * IDS]
    # Another kubelet finds them again, and gives what was given back to others.
    assert UserNamespaces(layout).of(pods[0]) == first
    (Path(layout.pod("uid-a")) / "userns").unlink()
    assert UserNamespaces(layout).of(pods[2]) == first
    assert UserNamespaces(layout).of(pod("d")) is None
    assert UserNamespaces(layout).of(pod("e", hostUsers=True)) is None
    (Path(layout.pod("uid-b")) / "userns").write_text("{}")
    with pytest.raises(ConfigError, match="userns: which ids the Pod has is not to be read"):
        UserNamespaces(layout).of(pods[1])


def test_all_blocks_are_taken() -> None:
    taken = {block * IDS for block in range(1, IDS - 1)}
    assert free_block(taken - {7 * IDS}) == 7 * IDS
    with pytest.raises(ConfigError, match="could not find an empty slot"):
        free_block(taken)


def test_a_user_namespace_in_what_the_runtime_is_told(pod: MakePod, tmp_path: Path) -> None:
    made, layout = pod(hostUsers=False), Layout(PurePosixPath(tmp_path))
    users = UserNamespaces(layout).of(made)
    mounts = [criv1.Mount(container_path="/v", host_path="/h")]
    run = Run(0, Image("sha256:1"), ("10.0.0.7",), mounts, users=users)
    config = container_config(made, made.spec.containers[0], run, Objects(), NODE)
    assert config.linux.security_context.namespace_options.userns_options == users
    assert users is not None
    assert (list(config.mounts[0].uidMappings), list(config.mounts[0].gidMappings)) == (list(users.uids),) * 2
    sandbox = sandbox_config(made, 0, layout, NODE, users)
    assert sandbox.linux.security_context.namespace_options.userns_options == users
    plain = sandbox_config(pod(), 0, layout, NODE)
    assert not plain.linux.security_context.namespace_options.HasField("userns_options")


@pytest.mark.parametrize(("handler", "who"), [("", "runtime"), ("kata", 'RuntimeClass handler "kata"')])
def test_runtimes_without_user_namespaces(handler: str, who: str) -> None:
    check_handler(handler, can=True)
    with pytest.raises(ConfigError, match=f"hostUsers: false`, {who} does not support user namespaces"):
        check_handler(handler, can=False)
