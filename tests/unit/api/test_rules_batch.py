# ruff: noqa: E501 -- tables of messages
"""Jobs and CronJobs: defaults, rules, what may change."""

import pytest

POD = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox"}]}
JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "sum", "uid": "u-1"},
    "spec": {"template": {"spec": POD}},
}
CRON_JOB = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": {"template": {"spec": POD}}}},
}
INDEXED = {"spec": {"completionMode": "Indexed", "completions": 5, "backoffLimitPerIndex": 1}}
RULE = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}}


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        ({}, "backoffLimit", 6),
        ({"backoffLimitPerIndex": 1}, "backoffLimit", 2147483647),
        ({}, "completionMode", "NonIndexed"),
        ({}, "completions", 1),
        ({"parallelism": 2}, "completions", None),
        ({"completions": 3}, "completions", 3),
        ({}, "manualSelector", False),
        ({}, "parallelism", 1),
        ({}, "podReplacementPolicy", "TerminatingOrFailed"),
        ({"podFailurePolicy": {"rules": []}}, "podReplacementPolicy", "Failed"),
        ({}, "suspend", False),
    ],
)
def test_defaults_of_jobs(door, patched, changes, field, expected):
    assert door.defaulted(patched(JOB, {"spec": changes}))["spec"].get(field) == expected


def test_more_defaults_of_jobs(door, patched):
    policy = {"rules": [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]}]}
    job = {"spec": {"podFailurePolicy": policy, "template": {"metadata": {"labels": {"a": "b"}}}}}
    job = door.defaulted(patched(JOB, job))
    assert job["metadata"]["labels"] == {"a": "b"}
    assert job["spec"]["podFailurePolicy"]["rules"][0]["onPodConditions"][0]["status"] == "True"
    assert job["spec"]["template"]["spec"]["dnsPolicy"] == "ClusterFirst"


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("concurrencyPolicy", "Allow"),
        ("failedJobsHistoryLimit", 1),
        ("successfulJobsHistoryLimit", 3),
        ("suspend", False),
    ],
)
def test_defaults_of_cron_jobs(door, field, expected):
    spec = door.defaulted(CRON_JOB)["spec"]
    assert spec[field] == expected
    assert spec["jobTemplate"]["spec"]["template"]["spec"]["schedulerName"] == "default-scheduler"
    assert "backoffLimit" not in spec["jobTemplate"]["spec"]


def test_a_job_selects_its_own_pods(door, patched):
    spec = door.created(JOB)["spec"]
    assert spec["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "u-1"}}
    assert spec["template"]["metadata"]["labels"] == {
        "batch.kubernetes.io/controller-uid": "u-1",
        "batch.kubernetes.io/job-name": "sum",
        "controller-uid": "u-1",
        "job-name": "sum",
    }
    manual = patched(JOB, {"spec": {"manualSelector": True, "selector": {"matchLabels": {"a": "b"}}}})
    assert "labels" not in door.created(manual)["spec"]["template"]["metadata"]


@pytest.mark.parametrize("changes", [{}, INDEXED, {"spec": {"podFailurePolicy": {"rules": [RULE]}}}])
def test_valid_jobs(door, patched, changes):
    assert door.refused(patched(JOB, changes)) == []


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        ({"parallelism": -1}, ["spec.parallelism: Invalid value: -1: must be greater than or equal to 0"]),
        ({"backoffLimit": -1}, ["spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0"]),
        (
            {"ttlSecondsAfterFinished": -1},
            ["spec.ttlSecondsAfterFinished: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            {"maxFailedIndexes": 1},
            [
                "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
                "spec.maxFailedIndexes: Invalid value: 1: requires indexed completion mode",
            ],
        ),
        (
            {"completionMode": "Indexed", "parallelism": 1},
            ["spec.completions: Required value: when completion mode is Indexed"],
        ),
        (
            {"completionMode": "Indexed", "completions": 1, "parallelism": 100001},
            [
                "spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed"
            ],
        ),
        (
            {"completionMode": "Other"},
            ['spec.completionMode: Unsupported value: "Other": supported values: "Indexed", "NonIndexed"'],
        ),
        (
            {"managedBy": "me"},
            ['spec.managedBy: Invalid value: "me": must be a domain-prefixed path (such as "acme.io/foo")'],
        ),
        ({"managedBy": ""}, ["spec.managedBy: Required value"]),
        (
            {"podReplacementPolicy": "TerminatingOrFailed", "podFailurePolicy": {"rules": [RULE]}},
            ['spec.podReplacementPolicy: Unsupported value: "TerminatingOrFailed": supported values: "Failed"'],
        ),
        (
            {"template": {"spec": {"restartPolicy": None}}},
            ['spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'],
        ),
        (
            {"podFailurePolicy": {"rules": [RULE]}, "template": {"spec": {"restartPolicy": "OnFailure"}}},
            [
                'spec.template.spec.restartPolicy: Invalid value: "OnFailure": only "Never" is supported when podFailurePolicy is specified'
            ],
        ),
        (
            {
                "template": {"metadata": {"labels": {"job-name": "other"}}},
                "selector": {"matchLabels": {"job-name": "other"}},
            },
            [
                'spec.template.metadata.labels[job-name]: Invalid value: {"job-name":"other","controller-uid":"u-1","batch.kubernetes.io/controller-uid":"u-1","batch.kubernetes.io/job-name":"sum"}: must be \'sum\'',
                'spec.selector: Invalid value: {"matchLabels":{"batch.kubernetes.io/controller-uid":"u-1","job-name":"other"}}: `selector` not auto-generated',
            ],
        ),
        ({"manualSelector": True}, ["spec.selector: Required value"]),
        (
            {"manualSelector": True, "selector": {"matchLabels": {"a": "b"}}},
            ["spec.template.metadata.labels: Invalid value: {}: `selector` does not match template `labels`"],
        ),
        (
            {"successPolicy": {"rules": []}},
            ['spec.successPolicy: Invalid value: {"rules":null}: requires indexed completion mode'],
        ),
    ],
)
def test_refused_jobs(door, patched, spec, errors):
    found = door.refused(patched(JOB, {"spec": spec}))
    assert sorted(map(_unordered, found)) == sorted(map(_unordered, errors))


def _unordered(text: str) -> str:
    """Maps of labels have no order."""
    return "".join(sorted(text)) if "{" in text else text


def test_the_pods_of_an_indexed_job_need_host_names(door, patched):
    name = "a" * 62
    job = patched(patched(JOB, INDEXED), {"metadata": {"name": name}})
    assert door.refused(job) == [
        f'metadata.name: Invalid value: "{name}": will not able to create pod with invalid DNS label: {name}-4'
    ]


@pytest.mark.parametrize(
    ("rule", "errors"),
    [
        ({"action": ""}, ['.action: Required value: valid values: ["Count" "FailIndex" "FailJob" "Ignore"]']),
        ({"action": "FailIndex"}, ['.action: Invalid value: "FailIndex": requires the backoffLimitPerIndex to be set']),
        ({"onExitCodes": None}, [": Invalid value: specifying one of OnExitCodes and OnPodConditions is required"]),
        (
            {"onPodConditions": [{"type": "Ready"}]},
            [": Invalid value: specifying both OnExitCodes and OnPodConditions is not supported"],
        ),
        (
            {"onExitCodes": {"values": [0]}},
            [".onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator"],
        ),
        ({"onExitCodes": {"values": [1, 1]}}, [".onExitCodes.values[1]: Duplicate value: 1"]),
        ({"onExitCodes": {"values": [2, 1]}}, [".onExitCodes.values: Invalid value: [2,1]: must be ordered"]),
        ({"onExitCodes": {"values": []}}, [".onExitCodes.values: Invalid value: []: at least one value is required"]),
        (
            {"onExitCodes": {"containerName": "z"}},
            [
                '.onExitCodes.containerName: Invalid value: "z": must be one of the container or initContainer names in the pod template'
            ],
        ),
        (
            {"onExitCodes": {"operator": "Or"}},
            ['.onExitCodes.operator: Unsupported value: "Or": supported values: "In", "NotIn"'],
        ),
        (
            {"onExitCodes": None, "onPodConditions": [{"type": "Ready", "status": "Maybe"}]},
            ['.onPodConditions[0].status: Unsupported value: "Maybe": supported values: "False", "True", "Unknown"'],
        ),
    ],
)
def test_failure_policies(door, patched, rule, errors):
    job = patched(JOB, {"spec": {"podFailurePolicy": {"rules": [patched(RULE, rule)]}}})
    assert door.refused(job) == [f"spec.podFailurePolicy.rules[0]{error}" for error in errors]


@pytest.mark.parametrize(
    ("rule", "errors"),
    [
        ({"succeededIndexes": "0,2-4"}, []),
        ({"succeededCount": 2, "succeededIndexes": "1-3"}, []),
        ({}, [": Required value: at least one of succeededCount or succeededIndexes must be specified"]),
        (
            {"succeededIndexes": "2,1"},
            [
                '.succeededIndexes: Invalid value: "2,1": error parsing succeededIndexes: non-increasing order, previous: 2, current: 1'
            ],
        ),
        (
            {"succeededIndexes": "3-2"},
            [
                '.succeededIndexes: Invalid value: "3-2": error parsing succeededIndexes: non-increasing order, previous: 3, current: 2'
            ],
        ),
        (
            {"succeededIndexes": "5"},
            ['.succeededIndexes: Invalid value: "5": error parsing succeededIndexes: too large index: "5"'],
        ),
        (
            {"succeededIndexes": "a"},
            [
                '.succeededIndexes: Invalid value: "a": error parsing succeededIndexes: cannot convert string to integer for index: "a"'
            ],
        ),
        (
            {"succeededCount": 4, "succeededIndexes": "1-3"},
            [
                ".succeededCount: Invalid value: 4: must be less than or equal to 3 (the number of indexes in the specified succeededIndexes field)"
            ],
        ),
        (
            {"succeededCount": 6},
            [
                ".succeededCount: Invalid value: 6: must be less than or equal to 5 (the number of specified completions)"
            ],
        ),
    ],
)
def test_success_policies(door, patched, rule, errors):
    job = patched(patched(JOB, INDEXED), {"spec": {"successPolicy": {"rules": [rule]}}})
    assert door.refused(job) == [f"spec.successPolicy.rules[0]{error}" for error in errors]


@pytest.mark.parametrize(
    ("before", "changes", "fields"),
    [
        ({}, {"parallelism": 3}, []),
        ({}, {"suspend": True}, []),
        ({}, {"ttlSecondsAfterFinished": 1}, []),
        ({}, {"completions": 3}, ["spec.completions"]),
        (INDEXED["spec"], {"completions": 3}, ["spec.completions"]),
        (INDEXED["spec"], {"completions": 3, "parallelism": 3}, []),
        (INDEXED["spec"], {"backoffLimitPerIndex": 2}, ["spec.backoffLimitPerIndex"]),
        ({}, {"completionMode": "Indexed"}, ["spec.completionMode"]),
        ({}, {"managedBy": "a.io/b"}, ["spec.managedBy"]),
        ({}, {"template": {"spec": {"nodeSelector": {"a": "b"}}}}, ["spec.template"]),
        ({"suspend": True}, {"template": {"spec": {"nodeSelector": {"a": "b"}}}}, []),
        ({"suspend": True}, {"suspend": False, "template": {"metadata": {"annotations": {"a": "b"}}}}, []),
        ({"suspend": True}, {"template": {"spec": {"hostNetwork": True}}}, ["spec.template"]),
    ],
)
def test_changed_jobs(door, patched, before, changes, fields):
    old = door.created(patched(JOB, {"spec": before}))
    new = patched(old, {"spec": changes})
    assert [error.split(":")[0] for error in door.change_refused(old, new)] == fields
    assert door.changed(old, new)["metadata"]["generation"] == 2


def test_resources_of_a_suspended_job_can_be_chosen(door, patched):
    old = door.created(patched(JOB, {"spec": {"suspend": True}}))
    containers = [{**old["spec"]["template"]["spec"]["containers"][0], "resources": {"requests": {"cpu": "1"}}}]
    new = patched(old, {"spec": {"template": {"spec": {"containers": containers}}}})
    assert door.change_refused(old, new) == []
    running = patched(old, {"spec": {"suspend": False}})
    assert [error[:14] for error in door.change_refused(running, new)] == ["spec.template:"]


DONE = {"startTime": "2024-01-01T00:00:00Z", "completionTime": "2024-01-01T00:01:00Z"}


def conditions(*types: str) -> dict:
    return {"conditions": [{"type": type, "status": "True"} for type in types]}


@pytest.mark.parametrize(
    ("spec", "before", "status", "errors"),
    [
        ({}, {}, {"active": 1, "ready": 1}, []),
        ({}, {}, {**DONE, **conditions("SuccessCriteriaMet", "Complete"), "succeeded": 1}, []),
        (
            {},
            {},
            {"active": -1},
            [
                "status.active: Invalid value: -1: must be greater than or equal to 0",
                "status.ready: Invalid value: 0: cannot set more ready pods than active",
            ],
        ),
        ({}, {"failed": 2}, {"failed": 1}, ["status.failed: Invalid value: 1: cannot decrease the failed counter"]),
        ({}, {}, {"active": 1, "ready": 2}, ["status.ready: Invalid value: 2: cannot set more ready pods than active"]),
        (
            {},
            {},
            {**DONE, **conditions("Complete")},
            [
                "status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition"
            ],
        ),
        (
            {},
            {},
            {"startTime": DONE["startTime"], **conditions("Failed")},
            [
                "status.conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true condition"
            ],
        ),
        (
            {},
            {},
            conditions("SuccessCriteriaMet", "Complete"),
            [
                "status.completionTime: Required value: completionTime is required for Complete jobs",
                "status.startTime: Required value: startTime is required for finished job",
            ],
        ),
        (
            {},
            {},
            DONE,
            [
                'status.completionTime: Invalid value: "2024-01-01T00:01:00Z": cannot set completionTime when there is no Complete=True condition'
            ],
        ),
        (
            {},
            conditions("FailureTarget"),
            {},
            ["status.conditions: Invalid value: cannot disable the terminal FailureTarget=True condition"],
        ),
        (
            {},
            {},
            {"completedIndexes": "0"},
            [
                'status.completedIndexes: Invalid value: "0": cannot set non-empty completedIndexes when non-indexed completion mode'
            ],
        ),
        (
            INDEXED["spec"],
            {},
            {"completedIndexes": "0-2", "failedIndexes": "2,4"},
            ['status.failedIndexes: Invalid value: "2,4": failedIndexes and completedIndexes overlap at index: 2'],
        ),
        (
            INDEXED["spec"],
            {},
            {"completedIndexes": "0,7"},
            ['status.completedIndexes: Invalid value: "0,7": error parsing completedIndexes: too large index: "7"'],
        ),
        (
            {},
            {},
            {"uncountedTerminatedPods": {"succeeded": ["a"], "failed": ["a"]}},
            ['status.uncountedTerminatedPods.failed[0]: Duplicate value: "a"'],
        ),
    ],
)
def test_reported_status(door, patched, spec, before, status, errors):
    job = door.created(patched(JOB, {"spec": spec}))
    job.pop("status", None)
    old, new = {**job, "status": before}, {**job, "status": status}
    assert door.change_refused(old, new, "status") == errors


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        ({}, []),
        ({"timeZone": "Europe/Berlin"}, []),
        ({"schedule": ""}, ["spec.schedule: Required value"]),
        ({"schedule": "* *"}, ['spec.schedule: Invalid value: "* *": expected exactly 5 fields, found 2: [* *]']),
        (
            {"schedule": "TZ=UTC * * * * *"},
            [
                'spec.schedule: Invalid value: "TZ=UTC * * * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead'
            ],
        ),
        ({"timeZone": ""}, ['spec.timeZone: Invalid value: "": timeZone must be nil or non-empty string']),
        (
            {"timeZone": "Mars/Olympus"},
            ['spec.timeZone: Invalid value: "Mars/Olympus": unknown time zone Mars/Olympus'],
        ),
        ({"timeZone": "../etc"}, ['spec.timeZone: Invalid value: "../etc": unknown time zone ../etc']),
        (
            {"timeZone": "Local"},
            [
                'spec.timeZone: Invalid value: "Local": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones'
            ],
        ),
        (
            {"concurrencyPolicy": "Never"},
            ['spec.concurrencyPolicy: Unsupported value: "Never": supported values: "Allow", "Forbid", "Replace"'],
        ),
        (
            {"startingDeadlineSeconds": -1},
            ["spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0"],
        ),
        (
            {"jobTemplate": {"spec": {"manualSelector": True}}},
            ['spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: "false", "nil"'],
        ),
        (
            {"jobTemplate": {"spec": {"selector": {}}}},
            ["spec.jobTemplate.spec.selector: Invalid value: {}: `selector` will be auto-generated"],
        ),
    ],
)
def test_cron_jobs(door, patched, spec, errors):
    assert door.refused(patched(CRON_JOB, {"spec": spec})) == errors


def test_names_of_cron_jobs_leave_room_for_the_minute(door, patched):
    assert door.refused(patched(CRON_JOB, {"metadata": {"name": "a" * 52}})) == []
    long = patched(CRON_JOB, {"metadata": {"name": "a" * 53}})
    assert door.refused(long) == [f'metadata.name: Invalid value: "{"a" * 53}": must be no more than 52 bytes']
    assert door.change_refused(long, long) == []


def test_a_cron_job_may_keep_the_zone_in_its_schedule(door, patched):
    old = patched(CRON_JOB, {"spec": {"schedule": "TZ=UTC * * * * *"}})
    assert door.change_refused(old, old) == []
    both = patched(old, {"spec": {"timeZone": "UTC"}})
    assert door.change_refused(old, both) == [
        'spec.schedule: Invalid value: "TZ=UTC * * * * *": cannot use both timeZone field and TZ or CRON_TZ in schedule'
    ]
    assert "use timeZone instead" in door.warned(old)[0]


def test_a_dotted_name_is_worth_a_warning(door, patched):
    warning = door.warned(patched(JOB, {"metadata": {"name": "a.b"}}))[0]
    assert warning.startswith("metadata.name: this is used in Pod names and hostnames")
