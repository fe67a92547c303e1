"""Rows of tables, as people know them from kubectl."""

import pytest

from navarch.services.api.codec import from_json
from navarch.services.api.kinds import KINDS
from navarch.services.api.printers import table_for

NOW = 1_700_003_600.0
CREATED = "2023-11-14T22:13:20Z"  # one hour before NOW


def cells(kind: str, *, wide: bool = False, **fields) -> dict:
    metadata = {"name": "x", "creationTimestamp": CREATED, **fields.pop("metadata", {})}
    obj = from_json({"apiVersion": KINDS.find(kind).api_version, "kind": kind, "metadata": metadata, **fields})
    table = table_for(KINDS.of(obj))
    row = dict(zip(table.columns, table.row(obj, NOW), strict=True))
    return {column.name: cell for column, cell in row.items() if wide or column.priority == 0}


RUNNING = {"name": "c", "ready": True, "state": {"running": {}}}
READY = [{"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "True"}]


def waiting(reason: str, **fields) -> dict:
    return {"name": "c", "state": {"waiting": {"reason": reason}}, **fields}


def terminated(**state) -> dict:
    return {"name": "c", "state": {"terminated": state}}


@pytest.mark.parametrize(
    ("status", "ready", "word"),
    [
        pytest.param({"phase": "Pending"}, "0/1", "Pending", id="pending"),
        pytest.param(
            {
                "phase": "Pending",
                "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}],
            },
            "0/1",
            "SchedulingGated",
            id="gated",
        ),
        pytest.param(
            {"phase": "Pending", "containerStatuses": [waiting("ContainerCreating")]},
            "0/1",
            "ContainerCreating",
            id="creating",
        ),
        pytest.param(
            {"phase": "Pending", "containerStatuses": [waiting("ImagePullBackOff")]},
            "0/1",
            "ImagePullBackOff",
            id="no image",
        ),
        pytest.param(
            {"phase": "Running", "conditions": READY, "containerStatuses": [RUNNING]}, "1/1", "Running", id="running"
        ),
        pytest.param(
            {"phase": "Running", "containerStatuses": [waiting("CrashLoopBackOff")]},
            "0/1",
            "CrashLoopBackOff",
            id="crash loop",
        ),
        pytest.param(
            {"phase": "Succeeded", "containerStatuses": [terminated(exitCode=0, reason="Completed")]},
            "0/1",
            "Completed",
            id="completed",
        ),
        pytest.param(
            {"phase": "Failed", "containerStatuses": [terminated(exitCode=3)]}, "0/1", "ExitCode:3", id="exit code"
        ),
        pytest.param(
            {"phase": "Failed", "containerStatuses": [terminated(exitCode=137, signal=9)]},
            "0/1",
            "Signal:9",
            id="signal",
        ),
        pytest.param({"phase": "Failed", "reason": "Evicted"}, "0/1", "Evicted", id="evicted"),
        pytest.param(
            {
                "phase": "Running",
                "conditions": READY,
                "containerStatuses": [terminated(exitCode=0, reason="Completed"), RUNNING],
            },
            "1/1",
            "Running",
            id="one completed, ready",
        ),
        pytest.param(
            {"phase": "Running", "containerStatuses": [terminated(exitCode=0, reason="Completed"), RUNNING]},
            "1/1",
            "NotReady",
            id="one completed, not ready",
        ),
    ],
)
def test_pod_status(status, ready, word):
    row = cells("Pod", spec={"containers": [{"name": "c"}]}, status=status)
    assert (row["Ready"], row["Status"]) == (ready, word)


@pytest.mark.parametrize(
    ("statuses", "ready", "word"),
    [
        pytest.param([{"name": "i"}], "0/2", "Init:0/2", id="first at work"),
        pytest.param(
            [{"name": "i", "state": {"waiting": {"reason": "PodInitializing"}}}], "0/2", "Init:0/2", id="being started"
        ),
        pytest.param(
            [{"name": "i", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
            "0/2",
            "Init:CrashLoopBackOff",
            id="crash loop",
        ),
        pytest.param(
            [{"name": "i", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}],
            "0/2",
            "Init:Error",
            id="failed",
        ),
        pytest.param(
            [{"name": "i", "state": {"terminated": {"exitCode": 0}}}, {"name": "s", "started": False}],
            "0/2",
            "Init:1/2",
            id="sidecar starting",
        ),
        pytest.param(
            [{"name": "i", "state": {"terminated": {"exitCode": 0}}}, {"name": "s", "started": True, "ready": True}],
            "1/2",
            "Pending",
            id="sidecar ready",
        ),
    ],
)
def test_pod_initializing(statuses, ready, word):
    spec = {"containers": [{"name": "c"}], "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}]}
    row = cells("Pod", spec=spec, status={"phase": "Pending", "initContainerStatuses": statuses})
    assert (row["Ready"], row["Status"]) == (ready, word)


@pytest.mark.parametrize(("phase", "word"), [("Running", "Terminating"), ("Succeeded", "Succeeded")])
def test_pod_being_deleted(phase, word):
    row = cells("Pod", metadata={"deletionTimestamp": CREATED}, spec={"containers": []}, status={"phase": phase})
    assert row["Status"] == word


def test_pod_restarts_say_when():
    last = {"terminated": {"exitCode": 1, "finishedAt": "2023-11-14T23:12:20Z"}}
    status = {"phase": "Running", "containerStatuses": [{**RUNNING, "restartCount": 3, "lastState": last}]}
    assert cells("Pod", spec={"containers": [{"name": "c"}]}, status=status)["Restarts"] == "3 (60s ago)"


def test_pod_wide():
    spec = {"containers": [], "nodeName": "n", "readinessGates": [{"conditionType": "a/b"}]}
    row = cells("Pod", wide=True, spec=spec, status={"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}]})
    assert [row[name] for name in ("IP", "Node", "Nominated Node", "Readiness Gates")] == [
        "10.0.0.1",
        "n",
        "<none>",
        "0/1",
    ]


TEMPLATE = {"spec": {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]}}
OWNED = {"Containers": "a,b", "Images": "a:1,b:1", "Selector": "app=web"}
SELECTOR = {"matchLabels": {"app": "web"}}


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        (
            "Deployment",
            {
                "spec": {"replicas": 3, "selector": SELECTOR, "template": TEMPLATE},
                "status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 1},
            },
            {"Name": "x", "Ready": "2/3", "Up-to-date": 3, "Available": 1, "Age": "60m", **OWNED},
        ),
        (
            "ReplicaSet",
            {
                "spec": {"replicas": 3, "selector": SELECTOR, "template": TEMPLATE},
                "status": {"replicas": 2, "readyReplicas": 1},
            },
            {"Name": "x", "Desired": 3, "Current": 2, "Ready": 1, "Age": "60m", **OWNED},
        ),
        (
            "Service",
            {
                "spec": {
                    "type": "NodePort",
                    "clusterIP": "10.96.0.5",
                    "clusterIPs": ["10.96.0.5"],
                    "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
                    "selector": {"app": "web"},
                }
            },
            {
                "Name": "x",
                "Type": "NodePort",
                "Cluster-IP": "10.96.0.5",
                "External-IP": "<none>",
                "Port(s)": "80:30080/TCP,53/UDP",
                "Age": "60m",
                "Selector": "app=web",
            },
        ),
        (
            "Service",
            {"spec": {"type": "LoadBalancer", "clusterIP": "None"}},
            {
                "Name": "x",
                "Type": "LoadBalancer",
                "Cluster-IP": "None",
                "External-IP": "<pending>",
                "Port(s)": "<none>",
                "Age": "60m",
                "Selector": "<none>",
            },
        ),
        (
            "Endpoints",
            {"subsets": [{"addresses": [{"ip": f"10.0.0.{n}"} for n in range(1, 6)], "ports": [{"port": 80}]}]},
            {"Name": "x", "Endpoints": "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 2 more...", "Age": "60m"},
        ),
        (
            "EndpointSlice",
            {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}, {}]},
            {"Name": "x", "AddressType": "IPv4", "Ports": "80,*", "Endpoints": "10.0.0.1", "Age": "60m"},
        ),
        (
            "EndpointSlice",
            {"addressType": "IPv4", "endpoints": []},
            {"Name": "x", "AddressType": "IPv4", "Ports": "<unset>", "Endpoints": "<unset>", "Age": "60m"},
        ),
        ("ConfigMap", {"data": {"a": "1"}, "binaryData": {"b": "MQ=="}}, {"Name": "x", "Data": 2, "Age": "60m"}),
        ("Secret", {"type": "Opaque", "data": {"a": "MQ=="}}, {"Name": "x", "Type": "Opaque", "Data": 1, "Age": "60m"}),
        ("Namespace", {"status": {"phase": "Active"}}, {"Name": "x", "Status": "Active", "Age": "60m"}),
        ("ServiceAccount", {}, {"Name": "x", "Age": "60m"}),
        ("Lease", {"spec": {"holderIdentity": "me"}}, {"Name": "x", "Holder": "me", "Age": "60m"}),
        ("Role", {}, {"Name": "x", "Created At": CREATED}),
    ],
)
def test_rows(kind, fields, expected):
    assert cells(kind, wide=True, **fields) == expected


def test_node():
    row = cells(
        "Node",
        wide=True,
        metadata={"labels": {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": ""}},
        spec={"unschedulable": True},
        status={
            "conditions": [{"type": "Ready", "status": "False"}],
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
            "nodeInfo": {"kubeletVersion": "v1.36.2"},
        },
    )
    assert (row["Status"], row["Roles"], row["Version"]) == (
        "NotReady,SchedulingDisabled",
        "control-plane,worker",
        "v1.36.2",
    )
    assert (row["Internal-IP"], row["External-IP"], row["OS-Image"]) == ("10.0.0.1", "<none>", "<unknown>")


def test_event():
    row = cells(
        "Event",
        involvedObject={"kind": "Pod", "name": "web"},
        type="Warning",
        reason="BackOff",
        message="again\n",
        lastTimestamp="2023-11-14T23:13:00Z",
    )
    assert row == {"Last Seen": "20s", "Type": "Warning", "Reason": "BackOff", "Object": "pod/web", "Message": "again"}


def test_an_event_that_repeats_in_a_series():
    series = {"count": 4, "lastObservedTime": "2023-11-14T23:13:10.000000Z"}
    row = cells(
        "Event", wide=True, eventTime="2023-11-14T23:12:00.000000Z", series=series, involvedObject={"kind": "Node"}
    )
    assert (row["Last Seen"], row["First Seen"], row["Count"], row["Object"]) == ("10s", "80s", 4, "node")


def test_without_time_of_creation_age_is_unknown():
    assert cells("ServiceAccount", metadata={"creationTimestamp": None})["Age"] == "<unknown>"
