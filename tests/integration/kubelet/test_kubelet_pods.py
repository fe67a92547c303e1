"""Pods from bind to end, through the API and a CRI runtime."""

import asyncio
from typing import Any

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import codec
from navarch.services.api.errors import NotFound


def state_of(pod: corev1.Pod) -> str:
    if not pod.status.container_statuses:
        return ""
    state = pod.status.container_statuses[0].state
    return state.waiting.reason or state.terminated.reason or "Running"


async def make(lab: Any, kind: str, name: str, **data: Any) -> None:
    manifest = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "default"}, "data": data}
    await lab.client.create(codec.from_json(manifest))


async def test_a_pod_runs_is_seen_and_goes(lab: Any) -> None:
    await lab.create("web")
    pod = await lab.running("web")
    assert (pod.status.phase, pod.status.host_ip) == ("Running", "127.0.0.1")
    assert pod.status.pod_ip.startswith("10.9.0.")
    assert pod.status.container_statuses[0].container_id.partition("://")[2]
    await lab.client.delete(corev1.Pod, "web", "default")
    await lab.gone("web")
    await lab.clean()

    async def no_files() -> bool:
        return not any((lab.directory / "kubelet" / "pods").iterdir())

    await lab.until(no_files)


async def test_the_events_of_a_pod(lab: Any) -> None:
    await lab.create("web")
    await lab.running("web")

    async def all_there() -> bool:
        return {reason for reason, _ in await lab.events("web")} >= {"Pulling", "Pulled", "Created", "Started"}

    await lab.until(all_there)
    messages = dict(await lab.events("web"))
    assert messages["Pulling"] == 'Pulling image "app:1"'
    assert (messages["Created"], messages["Started"]) == ("Container created", "Container started")


async def test_without_an_event_stream_pods_come_up_and_crashes_are_seen(bare_lab: Any) -> None:
    bare_lab.without_events()
    await bare_lab.start_kubelet()
    await bare_lab.create("web")
    await bare_lab.running("web")
    await bare_lab.create("job", {"exit-after-seconds": "0.3"}, restartPolicy="Never")
    await bare_lab.when("job", lambda pod: pod.status.phase == "Succeeded")
    await bare_lab.client.delete(corev1.Pod, "web", "default")
    await bare_lab.gone("web")


async def test_a_crashing_container_restarts_once_and_then_waits(lab: Any) -> None:
    await lab.create("crash", {"exit-after-seconds": "0.05", "exit-code": "3"})
    pod = await lab.when("crash", lambda pod: state_of(pod) == "CrashLoopBackOff")
    status = pod.status.container_statuses[0]
    assert (status.restart_count, status.last_state.terminated.exit_code) == (1, 3)
    assert pod.status.phase == "Running"


@pytest.mark.parametrize(("code", "phase", "reason"), [("0", "Succeeded", "Completed"), ("4", "Failed", "Error")])
async def test_a_pod_that_never_restarts_ends(lab: Any, code: str, phase: str, reason: str) -> None:
    await lab.create("job", {"exit-after-seconds": "0.05", "exit-code": code}, restartPolicy="Never")
    pod = await lab.when("job", lambda pod: pod.status.phase == phase)
    assert state_of(pod) == reason
    await lab.when("job", lambda pod: pod.status.conditions[0].status == "False")


async def test_init_containers_come_first(lab: Any) -> None:
    init = [{"name": "init", "image": "init:1"}]
    await lab.create("web", {"exit-after-seconds.init": "0.1"}, initContainers=init)
    pod = await lab.running("web")
    first = pod.status.init_container_statuses[0]
    assert first.state.terminated.reason == "Completed"
    assert first.ready


async def test_an_image_that_cannot_be_pulled(lab: Any) -> None:
    await lab.create("web", {"pull-error": "manifest unknown"})
    pod = await lab.when("web", lambda pod: state_of(pod) == "ImagePullBackOff")
    assert "manifest unknown" in pod.status.container_statuses[0].state.waiting.message
    assert pod.status.phase == "Pending"


async def test_a_missing_config_map_is_waited_for(lab: Any) -> None:
    container = {"name": "main", "image": "app:1", "envFrom": [{"configMapRef": {"name": "conf"}}]}
    await lab.create("web", containers=[container])
    pod = await lab.when("web", lambda pod: state_of(pod) == "CreateContainerConfigError")
    assert pod.status.container_statuses[0].state.waiting.message == 'configmap "conf" not found'
    await make(lab, "ConfigMap", "conf", A="b")
    await lab.running("web")


async def test_a_volume_waits_for_its_secret_and_follows_it(lab: Any) -> None:
    mount = {"name": "main", "image": "app:1", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    pod = await lab.create("web", containers=[mount], volumes=[{"name": "v", "secret": {"secretName": "sec"}}])

    async def complained() -> bool:
        message = 'MountVolume.SetUp failed for volume "v" : secret "sec" not found'
        return ("FailedMount", message) in await lab.events("web")

    await lab.until(complained)
    await make(lab, "Secret", "sec", pw="b25l")
    await lab.running("web")
    volumes = lab.directory / "kubelet" / "pods" / pod.metadata.uid / "volumes"
    file = volumes / "kubernetes.io~secret" / "v" / "pw"
    assert file.read_bytes() == b"one"
    await lab.client.patch(corev1.Secret, "sec", "default", {"data": {"pw": "dHdv"}}, "merge")

    async def updated() -> bool:
        return bool(file.read_bytes() == b"two")

    await lab.until(updated)


async def test_a_pod_that_does_not_fit_is_refused(lab: Any) -> None:
    big = {"name": "main", "image": "app:1", "resources": {"requests": {"cpu": "1000"}}}
    await lab.create("big", containers=[big])
    pod = await lab.when("big", lambda pod: pod.status.phase == "Failed")
    assert pod.status.reason == "OutOfcpu"
    assert pod.status.message.startswith("Pod was rejected: Node didn't have enough resource: cpu")
    await lab.client.delete(corev1.Pod, "big", "default")
    await lab.gone("big")


async def test_a_process_that_ignores_sigterm_is_killed(lab: Any) -> None:
    await lab.create("stubborn", {"ignore-sigterm": "true"})
    await lab.running("stubborn")
    await lab.client.delete(corev1.Pod, "stubborn", "default")
    await lab.gone("stubborn")
    await lab.clean()


async def test_a_forced_deletion_leaves_nothing(lab: Any) -> None:
    await lab.create("web", terminationGracePeriodSeconds=300)
    await lab.running("web")
    await lab.client.delete(corev1.Pod, "web", "default", grace_period_seconds=0)
    assert await lab.pod("web") is None
    await lab.clean()


async def test_a_deadline_ends_a_pod(lab: Any) -> None:
    await lab.create("late", activeDeadlineSeconds=1)
    pod = await lab.when("late", lambda pod: pod.status.phase == "Failed")
    assert pod.status.reason == "DeadlineExceeded"


async def test_a_failing_readiness_probe_keeps_a_pod_out(lab: Any) -> None:
    probe = {"tcpSocket": {"port": 1, "host": "127.0.0.1"}, "periodSeconds": 1}
    await lab.create("web", containers=[{"name": "main", "image": "app:1", "readinessProbe": probe}])

    async def unhealthy() -> bool:
        return any(reason == "Unhealthy" for reason, _ in await lab.events("web"))

    await lab.until(unhealthy)
    pod = await lab.pod("web")
    assert (pod.status.phase, pod.status.container_statuses[0].ready) == ("Running", False)


async def test_a_failing_liveness_probe_restarts(lab: Any) -> None:
    probe = {"tcpSocket": {"port": 1, "host": "127.0.0.1"}, "periodSeconds": 1, "failureThreshold": 1}
    await lab.create("web", containers=[{"name": "main", "image": "app:1", "livenessProbe": probe}])
    await lab.when("web", lambda pod: state_of(pod) and pod.status.container_statuses[0].restart_count >= 1)
    assert ("Killing", "Container main failed liveness probe, will be restarted") in await lab.events("web")


async def test_many_pods_at_once(lab: Any) -> None:
    names = [f"p{index}" for index in range(20)]
    await asyncio.gather(*(lab.create(name) for name in names))
    pods = await asyncio.gather(*(lab.running(name) for name in names))
    assert len({pod.status.pod_ip for pod in pods}) == len(names)


async def test_others_conditions_survive_our_reports(lab: Any) -> None:
    await lab.create("web", readinessGates=[{"conditionType": "example.com/ok"}])
    await lab.when("web", lambda pod: pod.status.phase == "Running")
    patch = {"status": {"conditions": [{"type": "example.com/ok", "status": "True"}]}}
    await lab.client.patch(corev1.Pod, "web", "default", patch, "strategic", subresource="status")
    pod = await lab.running("web")
    assert any(condition.type == "example.com/ok" for condition in pod.status.conditions)


async def test_an_object_of_another_name_is_not_read(lab: Any) -> None:
    with pytest.raises(NotFound):
        await lab.client.get(corev1.Pod, "none", "default")
