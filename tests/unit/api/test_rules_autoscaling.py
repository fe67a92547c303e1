# ruff: noqa: E501 -- tables of messages
"""HorizontalPodAutoscalers: defaults, rules, and the two versions in terms of each other."""

import json

import pytest

from navarch.services.api.autoscaling import to_v1, to_v2
from navarch.services.api.codec import from_json, to_json

TARGET = {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}
V2 = {
    "apiVersion": "autoscaling/v2",
    "kind": "HorizontalPodAutoscaler",
    "spec": {"scaleTargetRef": TARGET, "maxReplicas": 5},
}
V1 = {**V2, "apiVersion": "autoscaling/v1"}
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
PODS = {"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "5"}}}
OBJECT = {
    "type": "Object",
    "object": {
        "describedObject": {"kind": "Ingress", "name": "i"},
        "metric": {"name": "m", "selector": {"matchLabels": {"a": "b"}}},
        "target": {"type": "Value", "value": "5"},
    },
}
EXTERNAL = {
    "type": "External",
    "external": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "5"}},
}
CONTAINER = {
    "type": "ContainerResource",
    "containerResource": {
        "name": "memory",
        "container": "c",
        "target": {"type": "AverageValue", "averageValue": "5Mi"},
    },
}
POLICY = {"type": "Pods", "value": 1, "periodSeconds": 60}
CONDITION = {"type": "AbleToScale", "status": "True", "lastTransitionTime": "2024-01-01T00:00:00Z"}


def test_defaults(door, patched):
    assert door.defaulted(V1)["spec"]["minReplicas"] == 1
    spec = door.defaulted(V2)["spec"]
    assert (spec["minReplicas"], spec["metrics"]) == (1, [CPU])
    assert "behavior" not in spec
    behavior = door.defaulted(patched(V2, {"spec": {"behavior": {}}}))["spec"]["behavior"]
    assert behavior == {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": [
                {"type": "Pods", "value": 4, "periodSeconds": 15},
                {"type": "Percent", "value": 100, "periodSeconds": 15},
            ],
        },
        "scaleDown": {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]},
    }
    said = patched(
        V2, {"spec": {"metrics": [PODS], "behavior": {"scaleUp": {"policies": [POLICY], "selectPolicy": "Min"}}}}
    )
    spec = door.defaulted(said)["spec"]
    assert spec["metrics"] == [PODS]
    assert spec["behavior"]["scaleUp"] == {"policies": [POLICY], "selectPolicy": "Min", "stabilizationWindowSeconds": 0}


@pytest.mark.parametrize("base", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        ({}, []),
        (
            {"minReplicas": 0},
            [
                "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
                "spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero replicas",
            ],
        ),
        (
            {"maxReplicas": 0, "minReplicas": None},
            [
                "spec.maxReplicas: Invalid value: 0: must be greater than 0",
                "spec.maxReplicas: Invalid value: 0: must be greater than or equal to `minReplicas`",
            ],
        ),
        ({"minReplicas": 9}, ["spec.maxReplicas: Invalid value: 5: must be greater than or equal to `minReplicas`"]),
        (
            {"scaleTargetRef": {"kind": "", "name": "a/b"}},
            [
                "spec.scaleTargetRef.kind: Required value",
                "spec.scaleTargetRef.name: Invalid value: \"a/b\": may not contain '/'",
            ],
        ),
    ],
)
def test_replicas_and_target(door, patched, base, spec, errors):
    assert door.refused(patched(base, {"spec": spec})) == errors


@pytest.mark.parametrize("metric", [CPU, PODS, OBJECT, EXTERNAL, CONTAINER], ids=lambda metric: metric["type"])
def test_valid_metrics(door, patched, metric):
    assert door.refused(patched(V2, {"spec": {"metrics": [metric]}})) == []


@pytest.mark.parametrize(
    ("metric", "errors"),
    [
        ({"type": "Pods"}, [".pods: Required value: must populate information for the given metric source"]),
        (
            {"type": "Odd"},
            [
                '.type: Unsupported value: "Odd": supported values: "ContainerResource", "External", "Object", "Pods", "Resource"'
            ],
        ),
        ({**PODS, "resource": CPU["resource"]}, [".resource: Forbidden: must populate the given metric source only"]),
        (
            {"type": "Pods", "pods": {"metric": {"name": ""}, "target": {"type": "Value", "value": "0"}}},
            [
                ".pods.metric.name: Required value: must specify a metric name",
                '.pods.target.value: Invalid value: "0": must be positive',
                ".pods.target.averageValue: Required value: must specify a positive target averageValue",
            ],
        ),
        (
            {
                "type": "Resource",
                "resource": {"name": "", "target": {"type": "Much", "averageUtilization": 0, "averageValue": "1"}},
            },
            [
                ".resource.name: Required value: must specify a resource name",
                '.resource.target.type: Invalid value: "Much": must be either Utilization, Value, or AverageValue',
                ".resource.target.averageUtilization: Invalid value: 0: must be greater than 0",
                ".resource.target.averageValue: Forbidden: may not set both a target raw value and a target utilization",
            ],
        ),
        (
            {
                "type": "External",
                "external": {"metric": {"name": "m"}, "target": {"type": "Value", "value": "1", "averageValue": "1"}},
            },
            [".external.target.value: Forbidden: may not set both a target value for metric and a per-pod target"],
        ),
    ],
)
def test_refused_metrics(door, patched, metric, errors):
    assert door.refused(patched(V2, {"spec": {"metrics": [metric]}})) == [f"spec.metrics[0]{error}" for error in errors]


@pytest.mark.parametrize(
    ("rules", "errors"),
    [
        (
            {"stabilizationWindowSeconds": 3601},
            [".stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600"],
        ),
        (
            {"stabilizationWindowSeconds": -1},
            [".stabilizationWindowSeconds: Invalid value: -1: must be greater than or equal to zero"],
        ),
        (
            {"selectPolicy": "All"},
            ['.selectPolicy: Unsupported value: "All": supported values: "Disabled", "Max", "Min"'],
        ),
        (
            {"policies": [{**POLICY, "type": "Odd"}]},
            ['.policies[0].type: Unsupported value: "Odd": supported values: "Percent", "Pods"'],
        ),
        ({"policies": [{**POLICY, "value": 0}]}, [".policies[0].value: Invalid value: 0: must be greater than zero"]),
        (
            {"policies": [{**POLICY, "periodSeconds": 1801}]},
            [".policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800"],
        ),
    ],
)
def test_refused_behavior(door, patched, rules, errors):
    manifest = patched(V2, {"spec": {"behavior": {"scaleDown": rules}}})
    assert door.refused(manifest) == [f"spec.behavior.scaleDown{error}" for error in errors]


def whole() -> dict:
    """An autoscaler that says all that there is to say."""
    current = [
        {"type": "Resource", "resource": {"name": "cpu", "current": {"averageValue": "9m", "averageUtilization": 7}}},
        {"type": "Pods", "pods": {"metric": {"name": "m"}, "current": {"averageValue": "5"}}},
    ]
    return {
        **V2,
        "metadata": {"name": "web", "annotations": {"mine": "yes"}},
        "spec": {
            **V2["spec"],
            "minReplicas": 2,
            "metrics": [PODS, OBJECT, EXTERNAL, CONTAINER, CPU],
            "behavior": {"scaleUp": {"policies": [POLICY], "selectPolicy": "Max", "stabilizationWindowSeconds": 0}},
        },
        "status": {
            "observedGeneration": 3,
            "currentReplicas": 2,
            "desiredReplicas": 4,
            "lastScaleTime": "2024-01-01T00:00:00Z",
            "currentMetrics": current,
            "conditions": [CONDITION],
        },
    }


def test_nothing_is_lost_between_the_versions():
    scaler = from_json(whole())
    assert to_json(to_v2(to_v1(scaler))) == to_json(scaler)


def test_what_readers_of_the_first_version_see():
    seen = to_json(to_v1(from_json(whole())))
    annotations = {name.rpartition("/")[2]: text for name, text in seen["metadata"]["annotations"].items()}
    assert annotations.pop("mine") == "yes"
    found = {name: json.loads(text) for name, text in annotations.items()}
    assert found["conditions"] == [CONDITION]
    assert found["current-metrics"] == [
        {"type": "Resource", "resource": {"name": "cpu", "currentAverageUtilization": 7, "currentAverageValue": "9m"}},
        {"type": "Pods", "pods": {"metricName": "m", "currentAverageValue": "5"}},
    ]
    assert found["metrics"][0] == {"type": "Pods", "pods": {"metricName": "m", "targetAverageValue": "5"}}
    assert found["metrics"][1]["object"] == {
        "target": {"kind": "Ingress", "name": "i"},
        "metricName": "m",
        "selector": {"matchLabels": {"a": "b"}},
        "targetValue": "5",
    }
    assert found["behavior"]["ScaleUp"]["Policies"] == [{"Type": "Pods", "Value": 1, "PeriodSeconds": 60}]
    assert seen["spec"]["targetCPUUtilizationPercentage"] == 80
    assert seen["status"]["currentCPUUtilizationPercentage"] == 7


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"type": 5}]', '"x"', "null"])
def test_annotations_that_cannot_be_read_count_for_nothing(text):
    names = ("metrics", "current-metrics", "conditions", "behavior")
    annotations = {f"autoscaling.alpha.kubernetes.io/{name}": text for name in names}
    scaler = to_json(to_v2(from_json({**V1, "metadata": {"annotations": annotations}})))
    assert "annotations" not in scaler["metadata"]
    assert scaler["spec"]["metrics"] == [CPU]
    assert "behavior" not in scaler["spec"]


def test_the_first_version_keeps_spec_and_status_apart_in_its_annotations(door, patched):
    old = to_json(to_v1(from_json(whole())))
    naked = patched(old, {"metadata": {"annotations": None}, "status": None, "spec": {"maxReplicas": 9}})
    changed = to_v2(from_json(door.changed(old, naked)))
    assert [metric.type for metric in changed.spec.metrics] == ["Resource"]
    assert (changed.spec.max_replicas, changed.status.conditions[0].type) == (9, "AbleToScale")
    reported = patched(
        old, {"metadata": {"annotations": None}, "status": {"currentReplicas": 8}, "spec": {"maxReplicas": 9}}
    )
    changed = to_v2(from_json(door.changed(old, reported, "status")))
    assert len(changed.spec.metrics) == 5
    assert (changed.spec.max_replicas, changed.status.current_replicas, len(changed.status.conditions)) == (5, 8, 0)


def test_zero_replicas_stay_possible_where_they_were(door, patched):
    old = patched(V2, {"spec": {"minReplicas": 0, "metrics": [OBJECT]}})
    assert door.change_refused(old, old) == []
    assert door.change_refused(V2, patched(V2, {"status": {"currentReplicas": -1}}), "status") == [
        "status.currentReplicas: Invalid value: -1: must be greater than or equal to 0"
    ]
