# ruff: noqa: E501 -- tables of messages
"""Pods through their subresources: ephemeral containers join, resources change, nothing else does."""

import pytest

DEBUGGER = {"name": "debugger", "image": "busybox"}
CPU = {"requests": {"cpu": "1", "memory": "1Gi"}}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "spec": {
        "containers": [{"name": "c", "image": "x", "resources": CPU}],
        "initContainers": [{"name": "i", "image": "x"}, {"name": "s", "image": "x", "restartPolicy": "Always"}],
    },
}


@pytest.fixture
def pod(door) -> dict:
    return door.created(POD)


def with_ephemeral(patched, pod: dict, *containers: dict) -> dict:
    return patched(pod, {"spec": {"ephemeralContainers": list(containers)}})


def test_ephemeral_containers_join(door, patched, pod):
    new = with_ephemeral(patched, pod, DEBUGGER)
    new = patched(new, {"metadata": {"labels": {"a": "b"}}, "spec": {"nodeName": "n"}, "status": {"phase": "Failed"}})
    assert door.change_refused(pod, new, "ephemeralcontainers") == []
    changed = door.changed(pod, new, "ephemeralcontainers")
    assert changed["spec"]["ephemeralContainers"][0]["terminationMessagePolicy"] == "File"
    assert changed["metadata"]["generation"] == 2
    assert changed["status"] == pod["status"]
    assert "nodeName" not in changed["spec"]
    assert "labels" not in changed["metadata"]


@pytest.mark.parametrize(
    ("containers", "errors"),
    [
        ([], ['spec.ephemeralContainers: Forbidden: existing ephemeral containers "debugger" may not be removed']),
        (
            [{**DEBUGGER, "image": "y"}],
            ['spec.ephemeralContainers: Forbidden: existing ephemeral containers "debugger" may not be changed'],
        ),
        ([DEBUGGER, {"name": "c", "image": "x"}], ['spec.ephemeralContainers[1].name: Duplicate value: "c"']),
        ([DEBUGGER, {"name": "d"}], ["spec.ephemeralContainers[1].image: Required value"]),
        (
            [DEBUGGER, {"name": "d", "image": "x", "targetContainerName": "z"}],
            ['spec.ephemeralContainers[1].targetContainerName: Not found: "z"'],
        ),
        (
            [DEBUGGER, {"name": "d", "image": "x", "ports": [{"containerPort": 1}]}],
            ["spec.ephemeralContainers[1].ports: Forbidden: cannot be set for an Ephemeral Container"],
        ),
    ],
)
def test_ephemeral_containers_stay(door, patched, pod, containers, errors):
    old = with_ephemeral(patched, pod, DEBUGGER)
    new = with_ephemeral(patched, pod, *containers)
    assert door.change_refused(old, new, "ephemeralcontainers") == errors


@pytest.mark.parametrize(
    ("part", "error"),
    [
        ("ephemeralcontainers", ": Forbidden: static pods do not support ephemeral containers"),
        ("resize", ": Forbidden: static pods cannot be resized"),
    ],
)
def test_static_pods(door, patched, pod, part, error):
    static = patched(pod, {"metadata": {"annotations": {"kubernetes.io/config.mirror": "x"}}})
    assert door.change_refused(static, static, part) == [error]


def resized(patched, pod: dict, *, field: str = "containers", index: int = 0, **changes) -> dict:
    containers = [dict(one) for one in pod["spec"][field]]
    containers[index] = patched(containers[index], changes)
    return patched(pod, {"spec": {field: containers}})


def test_resources_change(door, patched, pod):
    new = resized(
        patched,
        pod,
        resources={"requests": {"cpu": "2"}},
        image="other",
        resizePolicy=[{"resourceName": "cpu", "restartPolicy": "NotRequired"}],
    )
    new = patched(new, {"metadata": {"labels": {"a": "b"}}})
    assert door.change_refused(pod, new, "resize") == []
    changed = door.changed(pod, new, "resize")
    assert changed["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "2"
    assert changed["spec"]["containers"][0]["image"] == "x"
    assert changed["metadata"]["generation"] == 2
    assert "labels" not in changed["metadata"]


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        (
            {"resources": {"requests": {"memory": None}}},
            ["spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed"],
        ),
        ({"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}, "index": 0}, []),
        (
            {"resources": {"requests": {"ephemeral-storage": "1"}}},
            ["spec: Forbidden: only cpu and memory resources are mutable"],
        ),
        (
            {"resources": {"limits": {"cpu": "500m"}}},
            [
                'spec.containers[0].resources.requests: Invalid value: "1": must be less than or equal to cpu limit of 500m'
            ],
        ),
        ({"name": "other"}, ["spec: Forbidden: containers may not be renamed or reordered on resize"]),
        (
            {"field": "initContainers", "resources": {"requests": {"cpu": "1"}}},
            ["spec.initContainers[0].resources: Forbidden: resources for non-sidecar init containers are immutable"],
        ),
        ({"field": "initContainers", "index": 1, "resources": {"requests": {"cpu": "1"}}}, []),
    ],
)
def test_what_resizing_is_not_for(door, patched, pod, changes, errors):
    assert door.change_refused(pod, resized(patched, pod, **changes), "resize") == errors


def test_resizing_adds_no_containers(door, patched, pod):
    more = patched(pod, {"spec": {"containers": [*pod["spec"]["containers"], {"name": "d", "image": "x"}]}})
    assert door.change_refused(pod, more, "resize") == [
        "spec: Forbidden: containers may not be added or removed on resize"
    ]


def test_resizing_keeps_the_quality_of_service(door, patched):
    pod = door.created({**POD, "spec": {"containers": POD["spec"]["containers"]}})
    same = resized(patched, pod, resources={"limits": {"cpu": "1", "memory": "1Gi"}})
    assert door.change_refused(pod, same, "resize") == [
        'spec: Invalid value: "Guaranteed": Pod QOS Class may not change as a result of resizing'
    ]


def test_a_node_has_to_support_resizing(door, patched, pod):
    status = {"containerStatuses": [{"name": "c", "state": {"running": {}}}]}
    old = patched(pod, {"status": status})
    new = resized(patched, old, resources={"requests": {"cpu": "2"}})
    assert door.change_refused(old, new, "resize") == [": Forbidden: Pod running on node without support for resize"]
    able = patched(pod, {"status": {"containerStatuses": [{**status["containerStatuses"][0], "resources": {}}]}})
    assert door.change_refused(able, resized(patched, able, resources={"requests": {"cpu": "2"}}), "resize") == []


def test_reporters_do_not_take_generations_away(door, patched, pod):
    old = patched(
        pod,
        {
            "status": {
                "observedGeneration": 2,
                "conditions": [{"type": "Ready", "status": "True", "observedGeneration": 2}],
            }
        },
    )
    new = patched(old, {"status": {"observedGeneration": None, "conditions": [{"type": "Ready", "status": "False"}]}})
    status = door.changed(old, new, "status")["status"]
    assert (status["observedGeneration"], status["conditions"][0]["observedGeneration"]) == (2, 2)
