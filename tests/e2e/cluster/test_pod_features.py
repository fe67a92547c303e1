"""What a Pod can ask for, in real containers."""

import base64
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.discovery import v1_pb2 as discoveryv1

if TYPE_CHECKING:
    from tests.e2e.cluster.conftest import Space

FOREVER = "exec sleep 1000"
WORK: dict[str, Any] = {"volumeMounts": [{"name": "work", "mountPath": "/work"}]}
EMPTY_DIR = {"volumes": [{"name": "work", "emptyDir": {}}]}


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def secret(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


def main_status(pod: corev1.Pod) -> corev1.ContainerStatus:
    (found,) = pod.status.container_statuses
    return found


def container_id(pod: corev1.Pod) -> str:
    return main_status(pod).container_id.rpartition("/")[2]


def control_group(pid: str, controller: str) -> Path:
    """Where the limits of a process of this host are."""
    rows = (line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    paths = {name: path for _, names, path in rows for name in names.split(",")}
    root = Path("/sys/fs/cgroup")
    return root / controller / paths[controller][1:] if controller in paths else root / paths[""][1:]


@pytest.mark.over_both
async def test_init_containers_run_in_order_before_the_others(space: "Space") -> None:
    init = [space.container(f"echo {name} >> /work/log", name, **WORK) for name in ("first", "second")]
    await space.pod("ordered", f"cat /work/log; {FOREVER}", {"initContainers": init, **EMPTY_DIR}, **WORK)
    pod = await space.ready("ordered")
    assert await space.said("ordered", "second") == "first\nsecond\n"
    first, second = (one.state.terminated for one in pod.status.init_container_statuses)
    assert first.reason == second.reason == "Completed"
    assert first.finished_at.seconds <= second.started_at.seconds


@pytest.mark.over_both
async def test_containers_of_a_pod_share_a_volume_and_localhost(space: "Space") -> None:
    web = space.container("echo shared > /work/index.html; exec httpd -f -h /work -p 8081", "web", **WORK)
    other = space.container(f"cat /work/index.html; {FOREVER}", "other", **WORK)
    await space.pod("pair", "", {"containers": [web, other], **EMPTY_DIR})
    await space.ready("pair")
    assert await space.execute("pair", "wget", "-qO-", "http://localhost:8081/", container="other") == "shared\n"
    assert await space.execute("pair", "cat", "/work/index.html", container="other") == "shared\n"


async def test_environment_from_everywhere(space: "Space") -> None:
    await space.create(config_map("settings", COLOUR="green", size="10"))
    await space.create(secret("keys", password="s3cret"))
    env = [
        {"name": "PLAIN", "value": "yes"},
        {"name": "REFERRING", "value": "$(PLAIN)-$(NOBODY)"},
        {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "password"}}},
        {"name": "ABSENT", "valueFrom": {"configMapKeyRef": {"name": "none", "key": "x", "optional": True}}},
        {"name": "MY_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "MY_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {"name": "MY_NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
        {"name": "MY_LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
        {"name": "MY_LIMIT", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}},
    ]
    env_from = [{"configMapRef": {"name": "settings"}, "prefix": "SET_"}]
    limits = {"limits": {"memory": "64Mi"}}
    await space.pod("env", f"env; pwd; {FOREVER}", env=env, envFrom=env_from, workingDir="/var/www", resources=limits)
    pod = await space.ready("env")
    lines = (await space.said("env", "/var/www")).splitlines()
    assert lines[-1] == "/var/www"
    expected = {
        "PLAIN=yes", "REFERRING=yes-$(NOBODY)", "PASSWORD=s3cret", "SET_COLOUR=green", "SET_size=10", "MY_NAME=env",
        "MY_LABEL=env", "MY_LIMIT=64", f"MY_IP={pod.status.pod_ip}", f"MY_NODE={pod.spec.node_name}",
    }  # fmt: skip
    assert expected <= {*lines}
    assert not [line for line in lines if line.startswith("ABSENT")]


async def test_volumes_of_configuration_follow_their_source(space: "Space") -> None:
    await space.create(config_map("settings", colour="green"))
    await space.create(secret("keys", password="first"))
    volumes = [
        {"name": "settings", "configMap": {"name": "settings", "items": [{"key": "colour", "path": "deep/colour"}]}},
        {"name": "keys", "secret": {"secretName": "keys", "defaultMode": 0o400}},
        {"name": "self", "downwardAPI": {"items": [{"path": "app", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]
    mounts = [{"name": volume["name"], "mountPath": f"/etc/{volume['name']}"} for volume in volumes]
    await space.pod("volumes", FOREVER, {"volumes": volumes}, volumeMounts=mounts)
    await space.ready("volumes")

    async def read(path: str) -> str:
        return await space.execute("volumes", "cat", path)

    assert await read("/etc/settings/deep/colour") == "green"
    assert await read("/etc/keys/password") == "first"
    assert (await space.execute("volumes", "stat", "-Lc", "%a", "/etc/keys/password")).strip() == "400"
    assert 'app="volumes"' in await read("/etc/self/app")

    await space.client.patch(corev1.ConfigMap, "settings", space.name, {"data": {"colour": "blue"}})
    password = base64.b64encode(b"second").decode()
    await space.client.patch(corev1.Secret, "keys", space.name, {"data": {"password": password}})
    await space.client.patch(corev1.Pod, "volumes", space.name, {"metadata": {"labels": {"tier": "new"}}})

    async def updated() -> bool:
        found = [await read(path) for path in ("/etc/settings/deep/colour", "/etc/keys/password", "/etc/self/app")]
        return found[:2] == ["blue", "second"] and 'tier="new"' in found[2]

    await space.eventually(updated, "the files follow")


async def test_a_pod_waits_for_the_config_map_it_needs(space: "Space") -> None:
    env = [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "later", "key": "x"}}}]
    await space.pod("waits", f"echo $X; {FOREVER}", env=env)
    await space.until_pod(
        "waits",
        lambda pod: (
            pod.status.container_statuses and main_status(pod).state.waiting.reason == "CreateContainerConfigError"
        ),
        "says that its configuration is missing",
    )
    await space.create(config_map("later", x="here"))
    await space.ready("waits")
    assert await space.said("waits", "here") == "here\n"


@pytest.mark.over_both
async def test_memory_beyond_the_limit_kills(space: "Space") -> None:
    hungry = "x=a; while true; do x=$x$x; done"
    limits = {"limits": {"memory": "16Mi"}}
    await space.pod("hungry", hungry, {"restartPolicy": "Never"}, resources=limits)
    pod = await space.ended("hungry")
    ended = main_status(pod).state.terminated
    assert (pod.status.phase, ended.reason, ended.exit_code) == ("Failed", "OOMKilled", 137)


@pytest.mark.over_both
async def test_limits_are_in_the_control_group(space: "Space") -> None:
    resources = {"limits": {"cpu": "250m", "memory": "48Mi"}, "requests": {"cpu": "100m"}}
    await space.pod("limited", FOREVER, resources=resources)
    pod = await space.ready("limited")
    assert pod.status.qos_class == "Burstable"
    pid = str(space.cluster.tasks()[container_id(pod)])
    cpu, memory = control_group(pid, "cpu"), control_group(pid, "memory")
    if (cpu / "cpu.max").exists():
        assert (cpu / "cpu.max").read_text().split() == ["25000", "100000"]
        assert (memory / "memory.max").read_text().strip() == str(48 << 20)
    else:
        assert (cpu / "cpu.cfs_quota_us").read_text().strip() == "25000"
        assert (cpu / "cpu.shares").read_text().strip() == "102"
        assert (memory / "memory.limit_in_bytes").read_text().strip() == str(48 << 20)


async def test_host_path(space: "Space", tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from the host")
    volumes = [
        {"name": "work", "hostPath": {"path": str(tmp_path), "type": "Directory"}},
        {"name": "made", "hostPath": {"path": str(tmp_path / "made"), "type": "DirectoryOrCreate"}},
    ]
    mounts = [*WORK["volumeMounts"], {"name": "made", "mountPath": "/made"}]
    script = "cat /work/in > /made/out; touch /ro/x || echo refused > /made/ro"
    mounts.append({"name": "work", "mountPath": "/ro", "readOnly": True})
    await space.pod("host", script, {"restartPolicy": "Never", "volumes": volumes}, volumeMounts=mounts)
    pod = await space.ended("host")
    assert pod.status.phase == "Succeeded"
    assert (tmp_path / "made" / "out").read_text() == "from the host"
    assert (tmp_path / "made" / "ro").read_text() == "refused\n"


async def test_a_pod_that_is_deleted_may_tidy_up(space: "Space", tmp_path: Path) -> None:
    script = "trap 'echo tidied > /work/end; exit 0' TERM; echo ready > /work/began; while true; do sleep 0.1; done"
    volumes = [{"name": "work", "hostPath": {"path": str(tmp_path)}}]
    await space.pod("tidy", script, {"terminationGracePeriodSeconds": 60, "volumes": volumes}, **WORK)

    async def began() -> bool:
        return (tmp_path / "began").exists()

    await space.eventually(began, "the trap is set")
    await space.client.delete(corev1.Pod, "tidy", space.name)
    await space.gone("tidy")
    assert (tmp_path / "end").read_text() == "tidied\n"


async def test_a_pod_that_does_not_listen_is_killed_after_its_grace(space: "Space") -> None:
    await space.pod("deaf", "trap '' TERM; while true; do sleep 0.1; done", {"terminationGracePeriodSeconds": 2})
    pod = await space.ready("deaf")
    name = container_id(pod)
    await space.client.delete(corev1.Pod, "deaf", space.name)
    assert name in space.cluster.tasks()
    await space.gone("deaf")
    assert name not in space.cluster.tasks()


@pytest.mark.parametrize(
    ("policy", "script", "phase", "exit_code"),
    [
        pytest.param("Never", "exit 0", "Succeeded", 0, id="never-good"),
        pytest.param("Never", "exit 3", "Failed", 3, id="never-bad"),
        pytest.param("OnFailure", "exit 0", "Succeeded", 0, id="on-failure-good"),
    ],
)
async def test_phases_of_pods_that_end(space: "Space", policy: str, script: str, phase: str, exit_code: int) -> None:
    await space.pod("ends", script, {"restartPolicy": policy})
    pod = await space.ended("ends")
    status = main_status(pod)
    assert (pod.status.phase, status.state.terminated.exit_code, status.restart_count) == (phase, exit_code, 0)
    assert status.state.terminated.reason == ("Error" if exit_code else "Completed")


async def test_on_failure_runs_again_until_it_succeeds(space: "Space") -> None:
    script = "if [ -e /work/tried ]; then exit 0; fi; touch /work/tried; exit 1"
    await space.pod("retries", script, {"restartPolicy": "OnFailure", **EMPTY_DIR}, **WORK)
    pod = await space.ended("retries")
    status = main_status(pod)
    assert (pod.status.phase, status.restart_count) == ("Succeeded", 1)
    assert status.last_state.terminated.exit_code == 1


@pytest.mark.over_both
async def test_termination_messages(space: "Space") -> None:
    told = space.container("echo -n the file > /dev/termination-log; exit 1", "told")
    logged = space.container("echo the log; exit 1", "logged", terminationMessagePolicy="FallbackToLogsOnError")
    await space.pod("farewell", "", {"restartPolicy": "Never", "containers": [told, logged]})
    pod = await space.ended("farewell")
    messages = {one.name: one.state.terminated.message for one in pod.status.container_statuses}
    assert messages == {"told": "the file", "logged": "the log\n"}


async def test_readiness_decides_who_is_an_endpoint(space: "Space") -> None:
    probe = {"exec": {"command": ["test", "-e", "/tmp/ready"]}, "periodSeconds": 1, "failureThreshold": 1}
    await space.create(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "probed"},
            "spec": {"selector": {"app": "probed"}, "ports": [{"port": 80}]},
        }
    )
    await space.pod("probed", FOREVER, readinessProbe=probe)

    async def ready_endpoints() -> list[tuple[str, bool]]:
        slices = await space.client.list(
            discoveryv1.EndpointSlice, space.name, label_selector="kubernetes.io/service-name=probed"
        )
        return [(one.addresses[0], one.conditions.ready) for found in slices.items for one in found.endpoints]

    async def is_endpoint(ready: bool) -> bool:
        return [one for _, one in await ready_endpoints()] == [ready]

    await space.until_pod("probed", lambda pod: pod.status.phase == "Running", "runs")
    await space.eventually(lambda: is_endpoint(False), "an endpoint that is not ready")
    await space.execute("probed", "touch", "/tmp/ready")
    pod = await space.ready("probed")
    await space.eventually(lambda: is_endpoint(True), "a ready endpoint")
    assert (await ready_endpoints())[0][0] == pod.status.pod_ip
    await space.execute("probed", "rm", "/tmp/ready")
    await space.eventually(lambda: is_endpoint(False), "the endpoint is taken out")


async def test_a_failing_liveness_probe_restarts(space: "Space") -> None:
    probe = {"httpGet": {"path": "/alive", "port": 8080}, "periodSeconds": 1, "failureThreshold": 1}
    script = "mkdir /www; touch /www/alive; exec httpd -f -h /www -p 8080"
    await space.pod("lively", script, livenessProbe=probe | {"initialDelaySeconds": 1})
    pod = await space.ready("lively")
    first = container_id(pod)
    await space.execute("lively", "rm", "/www/alive")
    pod = await space.until_pod(
        "lively", lambda pod: main_status(pod).restart_count >= 1 and main_status(pod).ready, "restarted"
    )
    assert container_id(pod) != first
    assert "Liveness probe failed" in await space.navarch("describe", "pod", "lively")


@pytest.mark.over_both
async def test_host_network(space: "Space") -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = f"mkdir /www; echo host > /www/index.html; exec httpd -f -h /www -p 127.0.0.1:{port}"
    await space.pod("hosted", script, {"hostNetwork": True})
    pod = await space.ready("hosted")
    assert pod.status.pod_ip == pod.status.host_ip
    assert await space.execute("hosted", "wget", "-qO-", f"http://127.0.0.1:{port}/") == "host\n"
    assert (await space.execute("hosted", "readlink", "/proc/self/ns/net")).strip() == os.readlink("/proc/self/ns/net")
