"""What explains that a Pod does not run."""

import json
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf.message import Message

from navarch.cli.output.diagnosis.facts import Facts, failed_containers, references
from navarch.cli.output.diagnosis.findings import findings, is_well
from navarch.cli.output.diagnosis.page import document, page
from navarch.cli.output.diagnosis.placement import against
from navarch.cli.output.messages import document as message_document
from navarch.cli.output.node_tables import container_rows, image_rows, usage_rows
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.protos.navarch import node_pb2, stats_pb2
from navarch.services.api import codec
from navarch.services.api.codec.times import format_seconds

NOW = 1_800_000_000.0
SPEC: dict[str, Any] = {"nodeName": "n1", "containers": [{"name": "main", "image": "app:1"}]}
READY: dict[str, Any] = {"type": "Ready", "status": "True"}


def moment(seconds: float) -> str:
    return format_seconds(int(NOW + seconds))


def of_json(kind: str, **fields: Any) -> Any:
    return codec.from_json({"apiVersion": "v1", "kind": kind, **fields})


def a_pod(spec: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None, **status: Any) -> corev1.Pod:
    meta = {"name": "web", "namespace": "default", "creationTimestamp": moment(-60), **(metadata or {})}
    pod: corev1.Pod = of_json("Pod", metadata=meta, spec={**SPEC, **(spec or {})}, status=status)
    return pod


def a_node(name: str = "n1", ready: bool = True, spec: dict[str, Any] | None = None, **conditions: str) -> corev1.Node:
    listed = [{"type": "Ready", "status": "True" if ready else "False", "message": "" if ready else "no network"}]
    listed += [{"type": type_, "status": status, "message": "short"} for type_, status in conditions.items()]
    allocatable = {"cpu": "2", "memory": "1Gi", "pods": "2"}
    node: corev1.Node = of_json(
        "Node", metadata={"name": name}, spec=spec or {}, status={"conditions": listed, "allocatable": allocatable}
    )
    return node


def an_event(reason: str, message: str, container: str = "", type_: str = "Warning") -> corev1.Event:
    about = {"kind": "Pod", "name": "web", "fieldPath": f"spec.containers{{{container}}}" if container else ""}
    event: corev1.Event = of_json(
        "Event", metadata={"name": "e"}, involvedObject=about, reason=reason, message=message, type=type_
    )
    return event


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"containerStatuses": [{"name": "main", "image": "app:1", "imageID": "", "state": state, **more}]}


def ended(code: int, **more: Any) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, **more}}


def running(**more: Any) -> dict[str, Any]:
    state = {"running": {"startedAt": moment(-30)}}
    one = {"name": "main", "image": "app:1", "imageID": "", "state": state, "started": True, **more}
    return {"phase": "Running", "containerStatuses": [one]}


def inspected(**fields: Any) -> node_pb2.InspectResponse:
    return node_pb2.InspectResponse(**fields)


def held(seconds: float) -> node_pb2.InspectResponse:
    until = metav1.Time(seconds=int(NOW + seconds))
    return inspected(containers=[node_pb2.InspectedContainer(name="main", held_until=until)])


def order(name: str, message: str = "", **fields: Any) -> node_pb2.InspectResponse:
    failed = {"reason": "Failed", "answered": metav1.Time(seconds=1)} if message else {}
    one = node_pb2.InspectedOrder(order=name, message=message, **failed, **fields)  # type: ignore[arg-type]
    return inspected(stage="Starting", history=["New", "Starting"], orders=[one])


PENDING: dict[str, Any] = {"phase": "Pending"}
GATED: dict[str, Any] = {"schedulingGates": [{"name": "a"}, {"name": "b"}]}
UNSCHEDULED: dict[str, Any] = {
    "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available"}]
}
VOLUME: dict[str, Any] = {"volumes": [{"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "p"}]}}]}
CLAIMED: dict[str, Any] = {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}
READINESS: dict[str, Any] = {"containers": [{**SPEC["containers"][0], "readinessProbe": {"tcpSocket": {"port": 1}}}]}
STARTUP: dict[str, Any] = {"containers": [{**SPEC["containers"][0], "startupProbe": {"tcpSocket": {"port": 1}}}]}
INIT: dict[str, Any] = {"initContainers": [{"name": "first", "image": "app:1"}]}
INIT_RUNS: dict[str, Any] = {
    "phase": "Pending",
    "initContainerStatuses": [
        {"name": "first", "image": "", "imageID": "", "state": {"running": {"startedAt": moment(-90)}}}
    ],
}
CLAIM: dict[str, Any] = {
    "metadata": {"name": "data"},
    "spec": {"storageClassName": "fast"},
    "status": {"phase": "Pending"},
}


def facts(pod: corev1.Pod, **more: Any) -> Facts:
    return Facts(NOW, pod, **{"node": a_node() if pod.spec.node_name else None, **more})


CASES: dict[str, tuple[Facts, list[str]]] = {
    "well": (facts(a_pod(**running(ready=True), conditions=[READY])), []),
    "succeeded": (facts(a_pod(phase="Succeeded")), []),
    "gated": (
        facts(a_pod({"nodeName": "", **GATED}, **PENDING)),
        ["scheduling: waits until these gates are taken away: a, b"],
    ),
    "unschedulable": (
        facts(a_pod({"nodeName": ""}, **PENDING, **UNSCHEDULED)),
        ["scheduling: 0/2 nodes are available"],
    ),
    "no scheduler": (
        facts(a_pod({"nodeName": "", "schedulerName": "mine"}, **PENDING)),
        ["scheduling: the scheduler mine has said nothing of it yet"],
    ),
    "no node": (facts(a_pod(**PENDING), node=None), ["node n1: does not exist"]),
    "node not ready": (
        facts(a_pod(**PENDING), node=a_node(ready=False), unanswered="connection refused"),
        ["node n1: is not Ready: no network", "node n1: its kubelet does not answer: connection refused"],
    ),
    "node under pressure": (
        facts(a_pod(**PENDING), node=a_node(DiskPressure="True", PIDPressure="False")),
        ["node n1: is under DiskPressure: short"],
    ),
    "evicted": (
        facts(a_pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory. ")),
        ["Pod: Evicted: The node was low on resource: memory."],
    ),
    "being deleted": (
        facts(a_pod(metadata={"deletionTimestamp": moment(20), "finalizers": ["x/y"]}, **running(ready=True))),
        ["Pod: is being deleted, and has 20s left to end in", "Pod: is kept by the finalizers x/y"],
    ),
    "deleted long ago": (
        facts(a_pod(metadata={"deletionTimestamp": moment(-20)}, **running(ready=True))),
        ["Pod: is being deleted, and should be gone since 20s"],
    ),
    "no config map": (
        facts(a_pod(VOLUME, **PENDING), objects={("ConfigMap", "c"): None}),
        ["ConfigMap c: does not exist (volume v)"],
    ),
    "no key": (
        facts(a_pod(VOLUME, **PENDING), objects={("ConfigMap", "c"): corev1.ConfigMap(data={"other": ""})}),
        ["ConfigMap c: has no key k (volume v)"],
    ),
    "claim": (
        facts(
            a_pod(CLAIMED, **PENDING),
            objects={("PersistentVolumeClaim", "data"): of_json("PersistentVolumeClaim", **CLAIM)},
        ),
        ["PersistentVolumeClaim data: is Pending, storage class fast"],
    ),
    "volumes": (
        facts(
            a_pod(**PENDING),
            inspected=order("PrepareVolumes", "no such\nserver", retried=metav1.Time(seconds=int(NOW + 7))),
        ),
        ["volumes: no such server; next try in 7s"],
    ),
    "sandbox": (
        facts(a_pod(**PENDING, **waiting("ContainerCreating")), inspected=order("RunSandbox", "no CNI")),
        ["sandbox: no CNI"],
    ),
    "image": (
        facts(a_pod(**PENDING, **waiting("ImagePullBackOff", "Back-off pulling")), inspected=held(12)),
        ["container main: ImagePullBackOff: image app:1: Back-off pulling; next try in 12s"],
    ),
    "crash": (
        facts(
            a_pod(phase="Running", **waiting("CrashLoopBackOff", lastState=ended(3, reason="Error"), restartCount=4)),
            inspected=held(40),
        ),
        ["container main: ended with exit code 3; 4 restarts; next try in 40s"],
    ),
    "out of memory": (
        facts(
            a_pod(
                phase="Running", **waiting("CrashLoopBackOff", lastState=ended(137, reason="OOMKilled"), restartCount=1)
            )
        ),
        ["container main: ended with exit code 137 by signal 9 (OOMKilled); 1 restarts"],
    ),
    "unhealthy": (
        facts(
            a_pod(phase="Running", **waiting("CrashLoopBackOff", lastState=ended(137), restartCount=1)),
            events=[an_event("Unhealthy", "Liveness probe failed: 500", "main")],
        ),
        [
            "container main: ended with exit code 137 by signal 9; 1 restarts",
            "container main: Liveness probe failed: 500",
        ],
    ),
    "config error": (
        facts(a_pod(**PENDING, **waiting("CreateContainerConfigError", 'secret "s" not found'))),
        ['container main: CreateContainerConfigError: secret "s" not found'],
    ),
    "unready": (
        facts(
            a_pod(READINESS, **running(ready=False)),
            events=[
                an_event("Unhealthy", "Readiness probe failed: older", "main"),
                an_event("Unhealthy", "Readiness probe failed: refused", "main"),
                an_event("Unhealthy", "Readiness probe failed: of another", "side"),
            ],
            inspected=inspected(containers=[node_pb2.InspectedContainer(name="main", probes={"readiness": False})]),
        ),
        ["container main: its readiness probe fails: Readiness probe failed: refused"],
    ),
    "starting": (
        facts(a_pod(STARTUP, **running(started=False, ready=False))),
        ["container main: its startup probe has not succeeded yet"],
    ),
    "init": (
        facts(a_pod(INIT, **INIT_RUNS)),
        ["init container first: runs since 90s; the other containers wait for its end"],
    ),
    "failed": (
        facts(
            a_pod(
                phase="Failed",
                containerStatuses=[
                    {"name": "main", "image": "", "imageID": "", "state": ended(2, message="no\nconfig")}
                ],
            )
        ),
        ["container main: ended with exit code 2: no config"],
    ),
    "gate": (
        facts(a_pod({"readinessGates": [{"conditionType": "x/y"}]}, **running(ready=True))),
        ["Pod: its readiness gate x/y is not True"],
    ),
    "owner": (
        facts(a_pod(**PENDING), owner_events=[an_event("FailedCreate", "exceeded quota: q")]),
        ["Pod web: cannot make Pods: exceeded quota: q"],
    ),
    "a warning": (
        facts(a_pod(**PENDING), events=[an_event("Odd", "something\nelse"), an_event("Fine", "ok", type_="Normal")]),
        ["Pod: Odd: something else"],
    ),
    "on its way": (
        facts(a_pod(**PENDING), inspected=order("RunSandbox")),
        ["Pod: is on its way: Starting, at work on RunSandbox"],
    ),
}


@pytest.mark.parametrize(("known", "expected"), CASES.values(), ids=CASES.keys())
def test_reasons(known: Facts, expected: list[str]) -> None:
    found = findings(known)
    assert [f"{one.about}: {one.text}" for one in found] == expected
    text = page(known, found, [])
    assert all(line in text for line in expected)
    assert ("Nothing is wrong with it" in text) == (not expected) == is_well(known.pod)
    assert len(json.dumps(document(known, found))) > 100


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, []),
        (VOLUME, ["ConfigMap c: volume v ['k']"]),
        ({"volumes": [{"name": "v", "secret": {"secretName": "s", "optional": True}}]}, []),
        (
            {"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "s"}}]}}]},
            ["Secret s: volume v []"],
        ),
        ({"volumes": [{"name": "v", "ephemeral": {}}]}, ["PersistentVolumeClaim web-v: volume v []"]),
        ({"serviceAccountName": "robot"}, ["ServiceAccount robot: serviceAccountName []"]),
        (
            {
                "containers": [
                    {
                        "name": "m",
                        "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                        "envFrom": [{"configMapRef": {"name": "c"}}, {"secretRef": {"name": "o", "optional": True}}],
                    }
                ]
            },
            ["Secret s: container m, variable A ['k']", "ConfigMap c: container m, envFrom []"],
        ),
    ],
)
def test_what_a_pod_needs(spec: dict[str, Any], expected: list[str]) -> None:
    assert [f"{one.kind} {one.name}: {one.where} {list(one.keys)}" for one in references(a_pod(spec))] == expected


TAINT: dict[str, Any] = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("spec", "node", "expected"),
    [
        ({}, a_node(), []),
        ({}, a_node(ready=False), ["is not Ready"]),
        ({}, a_node(spec={"unschedulable": True}), ["is cordoned"]),
        ({}, a_node(spec={"taints": [TAINT]}), ["has the taint gpu=yes:NoSchedule"]),
        ({"tolerations": [{"key": "gpu", "operator": "Exists"}]}, a_node(spec={"taints": [TAINT]}), []),
        (
            {"tolerations": [{"key": "gpu", "value": "no"}]},
            a_node(spec={"taints": [TAINT]}),
            ["has the taint gpu=yes:NoSchedule"],
        ),
        ({"nodeSelector": {"disk": "ssd"}}, a_node(), ["does not have the label disk=ssd"]),
        (
            {"containers": [{"name": "m", "resources": {"requests": {"cpu": "1500m", "memory": "1Gi"}}}]},
            a_node(),
            ["too little cpu: 1500m asked for, 1000m free"],
        ),
        (
            {"containers": [{"name": "m", "ports": [{"containerPort": 1, "hostPort": 80}]}]},
            a_node(),
            ["port 80/TCP is taken"],
        ),
    ],
)
def test_what_speaks_against_a_node(spec: dict[str, Any], node: corev1.Node, expected: list[str]) -> None:
    container = {"name": "m", "resources": {"requests": {"cpu": "1"}}, "ports": [{"containerPort": 1, "hostPort": 80}]}
    other = a_pod({"containers": [container]})
    elsewhere = a_pod({"nodeName": "n2", "containers": [container]})
    done = a_pod({"containers": [container]}, phase="Succeeded")
    assert against(a_pod({**spec, "nodeName": ""}), [node], [other, elsewhere, done]) == {"n1": expected}


def test_a_full_node_takes_no_more_pods() -> None:
    others = [a_pod(), a_pod()]
    assert against(a_pod({"nodeName": ""}), [a_node()], others) == {"n1": ["too little pods: 1 asked for, 0 free"]}


def test_the_page_of_a_pod_without_a_place() -> None:
    known = replace(CASES["unschedulable"][0], nodes=[a_node(ready=False), a_node("n2")])
    text = page(known, findings(known), [["1m", "Warning", "FailedScheduling", "pod/web", "0/2 nodes"]])
    assert "n1     is not Ready" in text
    assert "n2     nothing that is seen here" in text
    assert "FailedScheduling" in text
    assert document(known, [])["nodes"] == {"n1": ["is not Ready"], "n2": []}


def test_the_last_words_of_a_container_that_failed() -> None:
    known = replace(CASES["crash"][0], last_words={"main": "loading\nno such file\n"})
    assert failed_containers(known.pod) == ["main"]
    assert failed_containers(a_pod(**running(ready=True, lastState=ended(1)))) == []
    assert "  Last words of main:\n    loading\n    no such file\n" in page(known, findings(known), [])
    assert document(known, [])["lastWords"] == {"main": "loading\nno such file\n"}


def test_images_and_use_as_tables_and_documents() -> None:
    image = node_pb2.NodeImage(
        id="sha256:0123456789abcdef", tags=["app:1"], digests=["app@sha256:0"], size_bytes=3 << 20
    )
    image.used_by.append("default/web/main")
    image.last_used.seconds = int(NOW - 60)
    assert image_rows([image], NOW, wide=False) == [["app:1", "0123456789ab", "3.0Mi", "1", "60s ago"]]
    assert image_rows([image], NOW, wide=True)[0][3] == "default/web/main"
    assert image_rows([node_pb2.NodeImage(id="x")], NOW, wide=True) == [["<none>", "x", "0.0Mi", "<none>", "<none>"]]
    assert message_document(image)["usedBy"] == ["default/web/main"]
    assert message_document(image)["lastUsed"] == moment(-60)

    summary = stats_pb2.Summary()
    summary.node.cpu.usage_nano_cores = 250_000_000
    pod = summary.pods.add()
    pod.pod_ref.name, pod.pod_ref.namespace = "web", "default"
    container = pod.containers.add(name="main")
    container.memory.working_set_bytes = 5 << 20
    assert usage_rows(summary)[0] == ["", "(the node)", "250m", "<none>", "<none>"]
    assert container_rows(summary) == [["default", "web", "main", "<none>", "5Mi", "<none>"]]
    found: Message = summary
    assert message_document(found)["pods"][0]["containers"][0]["memory"] == {"workingSetBytes": 5 << 20}
