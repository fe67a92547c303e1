"""What containers of a Pod promise each other: who starts when, who is started again, who is told to end, and how."""

import asyncio
import re
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.testing.kubelet_lab import Lab, is_ready

# Shells do not pass signals on, and wait for what runs in the foreground.
STAYS = "trap 'echo told; exit 0' TERM; while :; do sleep 0.05; done"


def shell(script: str, name: str = "main", **more: Any) -> dict[str, Any]:
    return {"name": name, "command": ["sh", "-c", script], **more}


def status(pod: corev1.Pod, name: str = "main") -> corev1.ContainerStatus:
    every = [*pod.status.init_container_statuses, *pod.status.container_statuses]
    return next(one for one in [*every, *pod.status.ephemeral_container_statuses] if one.name == name)


def waits(pod: corev1.Pod, reason: str, name: str = "main") -> bool:
    return any(one.name == name for one in pod.status.container_statuses) and (
        status(pod, name).state.waiting.reason == reason
    )


SHARED = {"volumes": [{"name": "shared", "emptyDir": {}}]}
MOUNT = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}


async def test_init_containers_then_sidecars_then_the_rest_and_back_again(lab: Lab) -> None:
    side = (
        "sleep 0.3; echo side >> /shared/diary; trap 'echo side-told >> /shared/diary; exit 0' TERM; "
        "touch /tmp/up; while :; do sleep 0.05; done"
    )
    probe = {"exec": {"command": ["cat", "/tmp/up"]}, "periodSeconds": 1, "failureThreshold": 30}
    await lab.create(
        "order",
        restartPolicy="Never",
        initContainers=[
            shell("echo first >> /shared/diary", "first", **MOUNT),
            shell(side, "side", restartPolicy="Always", startupProbe=probe, **MOUNT),
            shell("echo second >> /shared/diary", "second", **MOUNT),
        ],
        containers=[shell("echo main >> /shared/diary; cat /shared/diary", **MOUNT)],
        **SHARED,
    )
    pod = await lab.ended("order")
    assert pod.status.phase == "Succeeded"
    assert await lab.logs("order", "main") == "first\nside\nsecond\nmain\n"
    ended = status(pod, "side").state.terminated
    assert (ended.reason, ended.exit_code) == ("Completed", 0)
    assert ended.finished_at.seconds >= status(pod).state.terminated.finished_at.seconds


async def test_who_fails_is_started_again_as_the_policies_say(lab: Lab) -> None:
    once = "test -e /shared/again && exit 0; touch /shared/again; exit 3"
    await lab.create("on-failure", restartPolicy="OnFailure", containers=[shell(once, **MOUNT)], **SHARED)
    await lab.create("never", restartPolicy="Never", containers=[shell("exit 4"), shell("exit 0", "other")])
    await lab.create("always", containers=[shell("exit 0")])
    inits = [shell("exit 5", "init")]
    await lab.create("stuck", restartPolicy="Never", initContainers=inits, containers=[shell("exit 0")])
    pod = await lab.ended("on-failure")
    assert (pod.status.phase, status(pod).restart_count) == ("Succeeded", 1)
    assert status(pod).last_state.terminated.exit_code == 3
    pod = await lab.ended("never")
    assert (pod.status.phase, status(pod).state.terminated.exit_code) == ("Failed", 4)
    assert (status(pod).state.terminated.reason, status(pod, "other").state.terminated.reason) == ("Error", "Completed")
    pod = await lab.when("always", lambda pod: waits(pod, "CrashLoopBackOff"))
    message = status(pod).state.waiting.message
    assert re.match(r"back-off \d+s restarting failed container=main pod=always_test-", message)
    pod = await lab.ended("stuck")
    assert pod.status.phase == "Failed"
    assert status(pod, "init").state.terminated.exit_code == 5
    assert status(pod).state.waiting.reason == "PodInitializing"


async def test_hooks_and_last_words(lab: Lab) -> None:
    main = shell(
        "until test -e /shared/hooked; do sleep 0.05; done; touch /tmp/up; "
        "trap 'cat /shared/hooked > /dev/termination-log; exit 7' TERM; while :; do sleep 0.05; done",
        lifecycle={
            "postStart": {"exec": {"command": ["sh", "-c", "echo hello > /shared/hooked"]}},
            "preStop": {"exec": {"command": ["sh", "-c", "echo goodbye >> /shared/hooked"]}},
        },
        readinessProbe={"exec": {"command": ["cat", "/tmp/up"]}, "periodSeconds": 1},
        **MOUNT,
    )
    await lab.create("hooked", containers=[main], terminationGracePeriodSeconds=20, **SHARED)
    log = shell("echo to the log; exit 1", terminationMessagePolicy="FallbackToLogsOnError")
    await lab.create("logged", restartPolicy="Never", containers=[log])
    bad = {"postStart": {"exec": {"command": ["false"]}}}
    await lab.create("spoilt", restartPolicy="Never", containers=[shell(STAYS, lifecycle=bad)])
    await lab.running("hooked")
    await lab.delete("hooked")
    pod = await lab.when("hooked", lambda pod: status(pod).state.HasField("terminated"))
    assert status(pod).state.terminated.message == "hello\ngoodbye\n"
    assert status(pod).state.terminated.exit_code == 7
    await lab.gone("hooked")
    assert status(await lab.ended("logged")).state.terminated.message == "to the log\n"
    await lab.event("spoilt", "FailedPostStartHook")
    await lab.ended("spoilt")


async def test_why_a_container_does_not_run(lab: Lab) -> None:
    cases = {
        "ErrImageNeverPull": {"image": "nosuch.invalid/image:1", "imagePullPolicy": "Never"},
        "InvalidImageName": {"image": "no such image"},
        "CreateContainerConfigError": {"envFrom": [{"configMapRef": {"name": "missing"}}]},
        "RunContainerError": {"command": ["/nosuch"]},
    }
    for reason, container in cases.items():
        await lab.create(reason.lower(), containers=[{"name": "main", "command": ["true"], **container}])
    for reason in cases:
        await lab.when(reason.lower(), lambda pod, reason=reason: waits(pod, reason))


class Health(health_pb2_grpc.HealthServicer):
    """A service of the host's network, whose Pod is probed by gRPC."""

    serving = True

    async def Check(self, request: Any, context: Any) -> Any:
        answer = health_pb2.HealthCheckResponse
        return answer(status=answer.SERVING if self.serving else answer.NOT_SERVING)


async def test_probes_of_every_kind(lab: Lab) -> None:
    server, health = grpc.aio.server(), Health()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    quick = {"periodSeconds": 1, "failureThreshold": 1}
    serve = "mkdir /www; echo ok > /www/index.html; httpd -p 8080 -h /www; " + STAYS
    web = shell(
        serve,
        ports=[{"name": "web", "containerPort": 8080}],
        startupProbe={"tcpSocket": {"port": "web"}, "periodSeconds": 1},
        readinessProbe={"httpGet": {"path": "/index.html", "port": "web"}, **quick},
        livenessProbe={"exec": {"command": ["test", "!", "-e", "/tmp/dead"]}, **quick},
    )
    await lab.create("web", containers=[web])
    asked = {"grpc": {"port": port}, **quick}
    await lab.create("asked", hostNetwork=True, containers=[shell(STAYS, readinessProbe=asked)])
    gates = [{"conditionType": "example.com/ready"}]
    await lab.create("gated", containers=[shell(STAYS)], readinessGates=gates)
    await lab.running("web")
    await lab.exec("web", "mv", "/www/index.html", "/www/gone")
    pod = await lab.when("web", lambda pod: not is_ready(pod))
    assert status(pod).state.HasField("running")
    await lab.exec("web", "touch", "/tmp/dead")
    pod = await lab.when("web", lambda pod: status(pod).restart_count == 1)
    await lab.running("web")
    assert "Liveness probe failed" in " ".join(message for _, message in await lab.events("web"))
    await lab.running("asked")
    health.serving = False
    await lab.when("asked", lambda pod: not is_ready(pod))
    pod = await lab.when(
        "gated", lambda pod: any(one.reason == "ReadinessGatesNotReady" for one in pod.status.conditions)
    )
    pod.status.conditions.add(type="example.com/ready", status="True")
    await lab.client.update_status(pod)
    await lab.running("gated")
    await server.stop(0)


async def test_a_deadline_an_ephemeral_container_and_shared_processes(lab: Lab) -> None:
    await lab.create("late", activeDeadlineSeconds=1, containers=[shell(STAYS)])
    await lab.create("seen", shareProcessNamespace=True, containers=[shell(STAYS)])
    pod = await lab.running("seen")
    debugger = pod.spec.ephemeral_containers.add().ephemeral_container_common
    debugger.name, debugger.image, debugger.image_pull_policy = "debugger", pod.spec.containers[0].image, "IfNotPresent"
    debugger.command.extend(["sh", "-c", "ps; sleep 3600"])
    await lab.client.update(pod, subresource="ephemeralcontainers")
    pod = await lab.when(
        "seen", lambda pod: any(one.state.HasField("running") for one in pod.status.ephemeral_container_statuses)
    )

    async def is_told() -> bool:
        return "while :" in await lab.logs("seen", "debugger")

    await lab.eventually(is_told)
    pod = await lab.ended("late")
    assert (pod.status.phase, pod.status.reason) == ("Failed", "DeadlineExceeded")


async def test_the_node_refuses_what_does_not_fit(lab: Lab) -> None:
    requests = {"resources": {"requests": {"cpu": "1000"}}}
    await lab.create("too-big", containers=[shell(STAYS, **requests)])
    await lab.create("elsewhere", nodeSelector={"nosuch": "label"}, containers=[shell(STAYS)])
    ports = [{"containerPort": 80, "hostPort": 20080}]
    await lab.create("first", containers=[shell(STAYS, ports=ports)])
    await lab.running("first")
    await lab.create("second", containers=[shell(STAYS, ports=ports)])
    for name, reason in (("too-big", "OutOfcpu"), ("elsewhere", "NodeAffinity"), ("second", "NodePorts")):
        pod = await lab.ended(name)
        assert (pod.status.phase, pod.status.reason) == ("Failed", reason)


async def test_a_restart_of_the_kubelet_is_no_event_for_pods(lab: Lab) -> None:
    await lab.create("calm", containers=[shell(STAYS)])
    before = await lab.running("calm")
    lab.kill_kubelet()
    await lab.start_kubelet()
    await lab.create("new", containers=[shell(STAYS)])
    await lab.running("new")
    after = await lab.pod("calm")
    assert after is not None
    assert after.status.container_statuses == before.status.container_statuses
    assert await asyncio.wait_for(lab.exec("calm", "echo", "alive"), 20) == "alive\n"
