"""What a node lets Pods do to the kernel: its parameters, profiles of AppArmor and seccomp, user namespaces."""

import json
from pathlib import Path
from typing import Any

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.pod_resources import amounts
from navarch.testing.kubelet_lab import Lab


def sysctls(*pairs: str) -> dict[str, Any]:
    return {"sysctls": [{"name": name, "value": value} for name, _, value in (pair.partition("=") for pair in pairs)]}


async def test_parameters_of_the_kernel(lab: Lab) -> None:
    await lab.create("unsafe", securityContext=sysctls("net.ipv4.tcp_syncookies=1", "kernel.msgmax=65536"))
    pod = await lab.ended("unsafe")
    words = 'forbidden sysctl: "kernel.msgmax" not allowlisted'
    assert (pod.status.reason, pod.status.message) == ("SysctlForbidden", f"Pod was rejected: {words}")
    assert await lab.event("unsafe", "SysctlForbidden") == words
    lab.kill_kubelet()
    await lab.start_kubelet("--allowed-unsafe-sysctls=kernel.msg*,net.core.somaxconn")
    try:
        await lab.create("allowed", securityContext=sysctls("kernel/msgmax=65536", "net.core.somaxconn=100"))
        await lab.running("allowed")
        found = await lab.exec("allowed", "cat", "/proc/sys/kernel/msgmax", "/proc/sys/net/core/somaxconn")
        assert found.split() == ["65536", "100"]
    finally:
        lab.kill_kubelet()
        await lab.start_kubelet()


async def test_a_status_tells_as_whom_a_container_runs_and_what_it_was_given(lab: Lab) -> None:
    sizes = {"cpu": "100m", "memory": "32Mi"}
    main = {
        "name": "main",
        "command": ["sleep", "3600"],
        "resources": {"requests": sizes, "limits": sizes},
        "securityContext": {"runAsUser": 1234},
    }
    usual = {"name": "usual", "command": ["sleep", "3600"]}
    context = {"runAsUser": 3000, "runAsGroup": 2000, "supplementalGroups": [4000], "fsGroup": 5000}
    await lab.create("somebody", containers=[main, usual], securityContext=context)
    pod = await lab.running("somebody")
    found = {one.name: one for one in pod.status.container_statuses}
    groups = {2000, 4000, 5000}
    users = {name: one.user.linux for name, one in found.items()}
    told = {name: (user.uid, user.gid, set(user.supplemental_groups)) for name, user in users.items()}
    mine = {"main": (1234, 2000, groups), "usual": (3000, 2000, groups)}
    nothing: dict[str, Any] = dict.fromkeys(mine, (0, 0, set()))
    assert told == lab.where(shim=mine, plugin=nothing, because="containerd 1.6 does not tell whom a container runs as")
    # What it says itself.
    uid, gid, *more = (await lab.exec("somebody", "sh", "-c", "id -u; id -g; id -G", container="main")).split()
    assert (uid, gid, set(map(int, more))) == ("1234", "2000", groups)
    given = {"cpu": 100, "memory": 32 << 20}
    assert amounts(found["main"].allocated_resources) == given
    assert amounts(found["main"].resources.limits) == amounts(found["main"].resources.requests) == given
    assert not found["usual"].allocated_resources
    assert not found["usual"].resources.limits


async def test_profiles_of_apparmor(lab: Lab) -> None:
    for name, kind in (("confined", "RuntimeDefault"), ("free", "Unconfined")):
        await lab.create(name, securityContext={"appArmorProfile": {"type": kind}})
    await lab.running("free")
    flag = Path("/sys/module/apparmor/parameters/enabled")
    if flag.exists() and flag.read_text().startswith("Y"):
        await lab.running("confined")
        return
    pod = await lab.ended("confined")
    words = "Cannot enforce AppArmor: AppArmor is not enabled on the host"
    assert (pod.status.reason, pod.status.message) == ("AppArmor", f"Pod was rejected: {words}")


async def test_profiles_of_seccomp_on_the_node(lab: Lab) -> None:
    folder = lab.host.root_dir(lab.runtime) / "seccomp" / "mine"
    folder.mkdir(parents=True, exist_ok=True)
    refused = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refused]}
    (folder / "no-mkdir.json").write_text(json.dumps(profile))

    async def create(name: str, file: str) -> None:
        own = {"seccompProfile": {"type": "Localhost", "localhostProfile": file}}
        await lab.create(name, containers=[{"name": "main", "command": ["sleep", "3600"], "securityContext": own}])

    await create("bound", "mine/no-mkdir.json")
    await create("unbound", "mine/absent.json")
    await lab.running("bound")
    assert "not permitted" in await lab.exec("bound", "sh", "-c", "mkdir /tmp/x 2>&1 || true")
    assert f"{folder}/absent.json" in await lab.event("unbound", "Failed")


async def test_a_user_namespace_of_the_pods_own(lab: Lab) -> None:
    await lab.create("own", hostUsers=False)
    node = await lab.client.get(corev1.Node, lab.node)
    if any(one.features.user_namespaces for one in node.status.runtime_handlers if not one.name):
        await lab.running("own")
        inside, outside, count = (await lab.exec("own", "cat", "/proc/self/uid_map")).split()
        assert (inside, int(outside) % 65536, count) == ("0", 0, "65536")
        assert outside != "0"
        return
    words = "can't set `spec.hostUsers: false`, runtime does not support user namespaces"
    assert await lab.event("own", "FailedCreatePodSandBox") == f"Failed to create pod sandbox: {words}"
