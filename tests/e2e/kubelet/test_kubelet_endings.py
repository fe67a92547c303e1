"""How containers are told to end, how long they get, and what starts after an end."""

from typing import Any

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.testing.kubelet_lab import Lab

SHARED = {"volumes": [{"name": "shared", "emptyDir": {}}]}
MOUNT = {"volumeMounts": [{"name": "shared", "mountPath": "/shared"}]}
STAYS = "while :; do sleep 0.05; done"


def shell(script: str, name: str = "main", **more: Any) -> dict[str, Any]:
    return {"name": name, "command": ["sh", "-c", script], **more}


def status(pod: corev1.Pod, name: str = "main") -> corev1.ContainerStatus:
    every = [*pod.status.init_container_statuses, *pod.status.container_statuses]
    return next(one for one in every if one.name == name)


def ended(pod: corev1.Pod, name: str = "main") -> bool:
    return status(pod, name).state.HasField("terminated")


def counts(pod: corev1.Pod) -> dict[str, int]:
    every = [*pod.status.init_container_statuses, *pod.status.container_statuses]
    return {one.name: one.restart_count for one in every}


async def test_one_exit_code_starts_all_containers_anew_in_place(lab: Lab) -> None:
    rule = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}
    first = "echo main >> /shared/diary; test $(grep -c main /shared/diary) = 1 || " + STAYS
    await lab.create(
        "anew",
        restartPolicy="Never",
        initContainers=[
            shell("echo init >> /shared/diary", "init", **MOUNT),
            shell("echo side >> /shared/diary; " + STAYS, "side", restartPolicy="Always", **MOUNT),
        ],
        containers=[
            shell(
                f"until test $(grep -c other /shared/diary) -gt 0; do sleep 0.05; done; {first}; exit 42",
                restartPolicy="Never",
                restartPolicyRules=[rule],
                **MOUNT,
            ),
            shell("echo other >> /shared/diary; " + STAYS, "other", **MOUNT),
        ],
        **SHARED,
    )
    pod = await lab.when("anew", lambda pod: counts(pod).get("main") == 1 and status(pod).state.HasField("running"))
    pod = await lab.running("anew")
    assert counts(pod) == {"init": 1, "side": 1, "main": 1, "other": 1}
    diary = (await lab.exec("anew", "cat", "/shared/diary", container="main")).split()
    assert diary[:2] == ["init", "side"]
    assert sorted(diary[2:4]) == ["main", "other"]
    assert diary[4:6] == ["init", "side"]
    assert status(pod).last_state.terminated.exit_code == 42


async def test_a_hook_that_takes_all_the_time_leaves_its_container_some(lab: Lab) -> None:
    hook = {"preStop": {"exec": {"command": ["sleep", "3600"]}}}
    await lab.create("held", containers=[shell("trap 'echo told; exit 3' TERM; echo up; " + STAYS, lifecycle=hook)])
    await lab.running("held")
    await lab.said("held", "up")
    await lab.delete("held", 1)
    pod = await lab.when("held", ended)
    assert status(pod).state.terminated.exit_code == 3
    assert "PreStopHook failed" in await lab.event("held", "FailedPreStopHook")
    await lab.gone("held")


async def test_who_asks_again_for_an_end_can_only_hasten_it(lab: Lab) -> None:
    deaf = "trap 'echo told' TERM; echo up; " + STAYS
    await lab.create("patient", terminationGracePeriodSeconds=3600, containers=[shell(deaf)])
    await lab.running("patient")
    await lab.said("patient", "up")
    await lab.delete("patient")
    await lab.said("patient", "told")
    await lab.delete("patient", 1)
    pod = await lab.when("patient", ended)
    assert status(pod).state.terminated.exit_code == 137
    await lab.gone("patient")


async def test_a_forced_deletion_leaves_nothing_running(lab: Lab) -> None:
    await lab.create("forced", containers=[shell("trap '' TERM; echo up; " + STAYS)])
    pod = await lab.running("forced")
    await lab.said("forced", "up")
    await lab.delete("forced", 0)
    assert await lab.pod("forced") is None
    id_ = status(pod).container_id.rpartition("/")[2]

    async def is_gone() -> bool:
        return id_ not in [container.id for container in await lab.cri.list_containers()]

    await lab.eventually(is_gone, "the container is gone")


async def test_containers_say_with_which_signal_they_want_to_end(lab: Lab) -> None:
    lab.only("shim", because="stop_signal came to CRI after containerd 1.6")
    script = "trap 'exit 5' USR1; trap 'exit 6' TERM; echo up; " + STAYS
    await lab.create("signals", os={"name": "linux"}, containers=[shell(script, lifecycle={"stopSignal": "SIGUSR1"})])
    pod = await lab.running("signals")
    await lab.said("signals", "up")
    assert status(pod).stop_signal == "SIGUSR1"
    await lab.delete("signals")
    pod = await lab.when("signals", ended)
    assert status(pod).state.terminated.exit_code == 5
    await lab.gone("signals")


async def test_probes_follow_redirects_within_their_host_only(lab: Lab) -> None:
    answer = "printf 'HTTP/1.1 %s\\r\\nLocation: %s\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n'"
    serve = (
        "cat > /serve <<'END'\nread -r _ path _\ncase $path in\n"
        f"/near) {answer} '302 Found' /ok ;;\n"
        f"/away) {answer} '302 Found' http://elsewhere.invalid/ ;;\n"
        f"/ok) {answer} '200 OK' / ;;\n"
        f"/round) {answer} '302 Found' /round ;;\n"
        f"*) {answer} '404 Not Found' / ;;\nesac\nEND\n"
        "nc -ll -p 8080 -e sh /serve & " + STAYS
    )

    def asked(path: str) -> dict[str, Any]:
        return {"httpGet": {"path": path, "port": 8080}, "periodSeconds": 1, "timeoutSeconds": 10}

    for name in ("near", "away", "round"):
        await lab.create(name, containers=[shell(serve, readinessProbe=asked(f"/{name}"))])
    await lab.running("near")
    await lab.running("away")
    assert "Probe terminated redirects" in await lab.event("away", "ProbeWarning")

    async def gives_up() -> bool:
        return any("stopped after 10 redirects" in message for _, message in await lab.events("round"))

    await lab.eventually(gives_up)
