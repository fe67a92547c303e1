# ruff: noqa: E501 -- tables of messages
"""Budgets, classes, limits, quotas, templates and Events: defaults, rules, what may change."""

import pytest

BUDGET = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "spec": {"minAvailable": 1}}
PRIORITY = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "value": 100}
RUNTIME = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "runc"}
LIMITS = {"apiVersion": "v1", "kind": "LimitRange", "spec": {"limits": [{"type": "Container"}]}}
QUOTA = {"apiVersion": "v1", "kind": "ResourceQuota", "spec": {"hard": {"pods": "3"}}}
TEMPLATE = {
    "apiVersion": "v1",
    "kind": "PodTemplate",
    "template": {"spec": {"containers": [{"name": "c", "image": "x"}]}},
}
EVENT = {
    "apiVersion": "events.k8s.io/v1",
    "kind": "Event",
    "regarding": {"kind": "Pod", "namespace": "default", "name": "p"},
    "eventTime": "2024-01-01T00:00:00.000000Z",
    "reportingController": "a.io/b",
    "reportingInstance": "b-1",
    "action": "Run",
    "reason": "Started",
    "type": "Normal",
    "note": "all is well",
}
ALL = [BUDGET, PRIORITY, RUNTIME, LIMITS, QUOTA, TEMPLATE, EVENT]


@pytest.mark.parametrize("manifest", ALL, ids=lambda manifest: manifest["kind"])
def test_valid(door, manifest):
    assert door.refused(manifest) == []
    assert door.change_refused(manifest, manifest) == []


def test_defaults(door, patched):
    assert door.defaulted(PRIORITY)["preemptionPolicy"] == "PreemptLowerPriority"
    assert door.defaulted({**PRIORITY, "preemptionPolicy": "Never"})["preemptionPolicy"] == "Never"
    assert door.defaulted(TEMPLATE)["template"]["spec"]["dnsPolicy"] == "ClusterFirst"
    assert door.defaulted(patched(RUNTIME, {"overhead": {"podFixed": {"cpu": "1000m"}}}))["overhead"] == {
        "podFixed": {"cpu": "1"}
    }


@pytest.mark.parametrize(
    ("item", "default", "wanted"),
    [
        ({"max": {"cpu": "2"}}, {"cpu": "2"}, {"cpu": "2"}),
        ({"max": {"cpu": "2"}, "default": {"cpu": "1"}}, {"cpu": "1"}, {"cpu": "1"}),
        ({"min": {"cpu": "1"}}, None, {"cpu": "1"}),
        ({"min": {"cpu": "1"}, "default": {"cpu": "2"}}, {"cpu": "2"}, {"cpu": "2"}),
        ({"default": {"cpu": "2"}, "defaultRequest": {"cpu": "1"}}, {"cpu": "2"}, {"cpu": "1"}),
        ({"type": "Pod", "max": {"cpu": "2"}, "min": {"cpu": "1"}}, None, None),
    ],
)
def test_defaults_of_limit_ranges(door, item, default, wanted):
    found = door.defaulted({**LIMITS, "spec": {"limits": [{"type": "Container", **item}]}})["spec"]["limits"][0]
    assert (found.get("default"), found.get("defaultRequest")) == (default, wanted)


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        (
            {"maxUnavailable": 1},
            [
                'spec: Invalid value: {"minAvailable":1,"maxUnavailable":1}: minAvailable and maxUnavailable cannot be both set'
            ],
        ),
        ({"minAvailable": -1}, ["spec.minAvailable: Invalid value: -1: must be greater than or equal to 0"]),
        ({"minAvailable": "101%"}, ['spec.minAvailable: Invalid value: "101%": must not be greater than 100%']),
        (
            {"minAvailable": "many"},
            [
                "spec.minAvailable: Invalid value: \"many\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
            ],
        ),
        (
            {"unhealthyPodEvictionPolicy": "Never"},
            [
                'spec.unhealthyPodEvictionPolicy: Unsupported value: "Never": supported values: "AlwaysAllow", "IfHealthyBudget"'
            ],
        ),
        (
            {"selector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}},
            ['spec.selector.matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator'],
        ),
    ],
)
def test_budgets(door, patched, spec, errors):
    assert door.refused(patched(BUDGET, {"spec": spec})) == errors


@pytest.mark.parametrize(
    ("status", "fields"),
    [
        ({"disruptionsAllowed": -1}, ["disruptionsAllowed"]),
        (
            {
                "conditions": [
                    {"type": "A", "status": "True", "reason": "R", "lastTransitionTime": "2024-01-01T00:00:00Z"}
                ]
            },
            [],
        ),
        (
            {"conditions": [{"type": "", "status": "Yes"}]},
            [f"conditions[0].{name}" for name in ("type", "status", "lastTransitionTime", "reason")],
        ),
        (
            {
                "conditions": [
                    {"type": "A", "status": "True", "reason": "!", "lastTransitionTime": "2024-01-01T00:00:00Z"}
                ]
            },
            ["conditions[0].reason"],
        ),
    ],
)
def test_status_of_budgets(door, patched, status, fields):
    found = door.change_refused(BUDGET, patched(BUDGET, {"status": status}), "status")
    assert [error.split(":")[0] for error in found] == [f"status.{field}" for field in fields]


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        ({"value": 1000000001}, ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"]),
        ({"value": -5}, []),
        (
            {"preemptionPolicy": "Always"},
            ['preemptionPolicy: Unsupported value: "Always": supported values: "Never", "PreemptLowerPriority"'],
        ),
        ({"metadata": {"name": "system-node-critical"}, "value": 2000001000}, []),
        (
            {"metadata": {"name": "system-mine"}},
            [
                "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-mine is not a known system priority class"
            ],
        ),
        (
            {"metadata": {"name": "system-node-critical"}, "value": 1},
            [
                "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: value of system-node-critical PriorityClass must be 2000001000"
            ],
        ),
    ],
)
def test_priority_classes(door, patched, changes, errors):
    assert door.refused(patched(PRIORITY, changes)) == errors


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"handler": "Not!"}, ["handler"]),
        ({"handler": ""}, ["handler"]),
        ({"overhead": {"podFixed": {"odd": "1"}}}, ["overhead.limits[odd]", "overhead.limits[odd]"]),
        ({"scheduling": {"nodeSelector": {"a b": ""}}}, ["scheduling.nodeSelector"]),
        (
            {"scheduling": {"tolerations": [{"key": "a", "operator": "Exists", "value": "x"}]}},
            ["scheduling.tolerations[0].operator"],
        ),
        ({"scheduling": {"tolerations": [{"operator": "Exists"}] * 2}}, ["scheduling.tolerations[1]"]),
    ],
)
def test_runtime_classes(door, patched, changes, fields):
    assert [error.split(":")[0] for error in door.refused(patched(RUNTIME, changes))] == fields


@pytest.mark.parametrize(
    ("item", "errors"),
    [
        ({"type": "Odd"}, ['.type: Invalid value: "Odd": must be a standard limit type or fully qualified']),
        ({"type": "example.com/Odd"}, []),
        (
            {"max": {"cpu": "1"}, "min": {"cpu": "2"}, "default": {}, "type": "Pod"},
            ['.min[cpu]: Invalid value: "2": min value 2 is greater than max value 1'],
        ),
        ({"type": "Pod", "default": {"cpu": "1"}}, [".default: Forbidden: may not be specified when `type` is 'Pod'"]),
        (
            {"max": {"odd": "1"}, "type": "Pod"},
            [
                '.max[odd]: Invalid value: "odd": must be a standard resource type or fully qualified',
                '.max[odd]: Invalid value: "odd": must be a standard resource for containers',
            ],
        ),
        (
            {"type": "PersistentVolumeClaim"},
            [".limits: Required value: either minimum or maximum storage value is required, but neither was provided"],
        ),
        ({"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}}, []),
        (
            {"default": {"cpu": "1"}, "defaultRequest": {"cpu": "2"}},
            ['.defaultRequest[cpu]: Invalid value: "2": default request value 2 is greater than default limit value 1'],
        ),
        (
            {"max": {"cpu": "1"}, "default": {"cpu": "2"}, "defaultRequest": {"cpu": "1"}},
            ['.default[cpu]: Invalid value: "1": default value 2 is greater than max value 1'],
        ),
        (
            {"maxLimitRequestRatio": {"cpu": "500m"}},
            ['.maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1'],
        ),
        (
            {"type": "Pod", "max": {"cpu": "4"}, "min": {"cpu": "2"}, "maxLimitRequestRatio": {"cpu": "3"}},
            ['.maxLimitRequestRatio[cpu]: Invalid value: "3": ratio 3 is greater than max/min = 2.000000'],
        ),
        (
            {"default": {"a.io/gpu": "2"}, "defaultRequest": {"a.io/gpu": "1"}},
            [
                '.defaultRequest[a.io/gpu]: Invalid value: "1": default value 2 must equal to defaultRequest value 1 in a.io/gpu'
            ],
        ),
    ],
)
def test_limit_ranges(door, item, errors):
    manifest = {**LIMITS, "spec": {"limits": [{"type": "Container", **item}]}}
    assert door.refused(manifest) == [f"spec.limits[0]{error}" for error in errors]


def test_one_limit_of_a_type(door):
    manifest = {**LIMITS, "spec": {"limits": [{"type": "Container"}] * 2}}
    assert door.refused(manifest) == ['spec.limits[1].type: Duplicate value: "Container"']


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        (
            {"hard": {"requests.cpu": "1", "count/jobs.batch": "3", "limits.memory": "1Gi", "requests.a.io/gpu": "2"}},
            [],
        ),
        ({"hard": {"odd": "1"}}, ['spec.hard[odd]: Invalid value: "odd": must be a standard resource for quota']),
        ({"hard": {"pods": "1500m"}}, ['spec.hard[pods]: Invalid value: "1500m": must be an integer']),
        ({"hard": {"secrets": "-1"}}, ['spec.hard[secrets]: Invalid value: "-1": must be greater than or equal to 0']),
        ({"scopes": ["Odd"]}, ['spec.scopes: Invalid value: ["Odd"]: unsupported scope']),
        ({"scopes": ["BestEffort"]}, []),
        (
            {"scopes": ["BestEffort"], "hard": {"cpu": "1"}},
            ['spec.scopes: Invalid value: ["BestEffort"]: unsupported scope applied to resource'],
        ),
        (
            {"scopes": ["Terminating", "NotTerminating"]},
            ['spec.scopes: Invalid value: ["Terminating","NotTerminating"]: conflicting scopes'],
        ),
        (
            {
                "scopeSelector": {
                    "matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["a"]}]
                }
            },
            [],
        ),
        (
            {"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]}},
            [
                "spec.scopeSelector.matchExpressions[0].values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            ],
        ),
        (
            {
                "scopeSelector": {
                    "matchExpressions": [{"scopeName": "PriorityClass", "operator": "Exists", "values": ["a"]}]
                }
            },
            [
                "spec.scopeSelector.matchExpressions[0].values: Invalid value: [\"a\"]: must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
            ],
        ),
        (
            {"scopeSelector": {"matchExpressions": [{"scopeName": "Odd", "operator": "Is"}]}},
            [
                'spec.scopeSelector.matchExpressions[0].scopeName: Invalid value: "Odd": unsupported scope',
                'spec.scopeSelector.matchExpressions[0].operator: Invalid value: "Is": not a valid selector operator',
            ],
        ),
    ],
)
def test_quotas(door, spec, errors):
    assert door.refused({**QUOTA, "spec": {"hard": {"pods": "3"}, **spec}}) == errors


def test_status_of_quotas(door, patched):
    new = patched(QUOTA, {"metadata": {"resourceVersion": "1"}, "status": {"used": {"pods": "-1"}}})
    assert [error.split(":")[0] for error in door.change_refused(QUOTA, new, "status")] == ["status.used[pods]"]
    blind = patched(QUOTA, {"status": {"used": {"pods": "1"}}})
    assert door.change_refused(QUOTA, blind, "status") == ["resourceVersion: Required value"]


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        ({"eventTime": None}, ["eventTime: Required value"]),
        ({"type": "Odd"}, ['type: Invalid value: "": has invalid value: Odd']),
        ({"reason": ""}, ["reason: Required value"]),
        ({"action": "a" * 129}, ['action: Invalid value: "": can have at most 128 characters']),
        ({"note": "a" * 1025}, ['message: Invalid value: "": can have at most 1024 characters']),
        ({"deprecatedCount": 1}, ['count: Invalid value: "": needs to be unset']),
        ({"deprecatedSource": {"host": "h"}}, ['source: Invalid value: "": needs to be unset']),
        (
            {"series": {"count": 1}},
            ['series.count: Invalid value: "": should be at least 2', "series.lastObservedTime: Required value"],
        ),
        (
            {"regarding": {"namespace": "other"}},
            ['involvedObject.namespace: Invalid value: "other": does not match event.namespace'],
        ),
    ],
)
def test_events(door, patched, changes, errors):
    assert door.refused(patched(EVENT, changes)) == errors


@pytest.mark.parametrize(
    ("manifest", "changes", "errors"),
    [
        (PRIORITY, {"description": "d", "globalDefault": True}, []),
        (PRIORITY, {"value": 5}, ["value: Forbidden: may not be changed in an update."]),
        (PRIORITY, {"preemptionPolicy": "Never"}, ['preemptionPolicy: Invalid value: "Never": field is immutable']),
        (RUNTIME, {"handler": "kata"}, ['handler: Invalid value: "kata": field is immutable']),
        (QUOTA, {"spec": {"hard": {"pods": "9"}}}, []),
        (
            QUOTA,
            {"spec": {"scopes": ["BestEffort"]}},
            ['spec.scopes: Invalid value: ["BestEffort"]: field is immutable'],
        ),
        (EVENT, {"series": {"count": 2, "lastObservedTime": "2024-01-01T00:00:01.000000Z"}}, []),
        (EVENT, {"reason": "Stopped"}, ['reason: Invalid value: "Stopped": field is immutable']),
        (EVENT, {"note": "no"}, ['message: Invalid value: "no": field is immutable']),
        (BUDGET, {"spec": {"minAvailable": 2}}, []),
        (LIMITS, {"spec": {"limits": [{"type": "Pod"}]}}, []),
    ],
)
def test_what_may_change(door, patched, manifest, changes, errors):
    assert door.change_refused(manifest, patched(manifest, changes)) == errors


def test_changes_of_a_budget_are_counted(door, patched):
    old = door.created(BUDGET)
    assert door.changed(old, patched(old, {"spec": {"minAvailable": 2}}))["metadata"]["generation"] == 2
