"""Rows of the kinds that are met less often, as kubectl shows them in wide tables."""

import pytest

from navarch.services.api.codec import from_json
from navarch.services.api.kinds import KINDS
from navarch.services.api.printers import table_for

NOW = 1_700_003_600.0
CREATED = "2023-11-14T22:13:20Z"  # one hour before NOW
TEMPLATE = {"spec": {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]}}
AGE = {"Age": "60m"}


def cells(api_version: str, kind: str, **fields) -> dict:
    metadata = {"name": "x", "creationTimestamp": CREATED, **fields.pop("metadata", {})}
    obj = from_json({"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields})
    table = table_for(KINDS.by_gvk(api_version, kind))
    found = {column.name: cell for column, cell in zip(table.columns, table.row(obj, NOW), strict=True)}
    assert found.pop("Name") == "x"
    return found


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        pytest.param(
            "v1 ComponentStatus",
            {"conditions": [{"type": "Healthy", "status": "True", "message": "ok"}]},
            {"Status": "Healthy", "Message": "ok", "Error": ""},
            id="component",
        ),
        pytest.param("v1 ComponentStatus", {}, {"Status": "Unknown", "Message": "", "Error": ""}, id="no component"),
        pytest.param(
            "v1 ResourceQuota",
            {"status": {"hard": {"pods": "10", "limits.cpu": "2", "cpu": "1"}, "used": {"pods": "3"}}},
            {"Request": "cpu: 0/1, pods: 3/10", "Limit": "limits.cpu: 0/2", **AGE},
            id="quota",
        ),
        pytest.param(
            "v1 PodTemplate",
            {"template": {**TEMPLATE, "metadata": {"labels": {"b": "2", "a": "1"}}}},
            {"Containers": "a,b", "Images": "a:1,b:1", "Pod Labels": "a=1,b=2"},
            id="template",
        ),
        pytest.param(
            "apps/v1 ControllerRevision",
            {
                "metadata": {
                    "ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "controller": True}]
                },
                "revision": 3,
            },
            {"Controller": "daemonset.apps/d", "Revision": 3, **AGE},
            id="revision",
        ),
        pytest.param(
            "batch/v1 CronJob",
            {
                "spec": {
                    "schedule": "0 3 * * *",
                    "suspend": False,
                    "jobTemplate": {"spec": {"template": TEMPLATE}},
                },
                "status": {"active": [{"name": "j"}], "lastScheduleTime": "2023-11-14T23:12:20Z"},
            },
            {
                "Schedule": "0 3 * * *",
                "Timezone": "<none>",
                "Suspend": "False",
                "Active": 1,
                "Last Schedule": "60s",
                **AGE,
                "Containers": "a,b",
                "Images": "a:1,b:1",
                "Selector": "<none>",
            },
            id="cron job",
        ),
        pytest.param(
            "policy/v1 PodDisruptionBudget",
            {"spec": {"minAvailable": "50%"}, "status": {"disruptionsAllowed": 1}},
            {"Min Available": "50%", "Max Unavailable": "N/A", "Allowed Disruptions": 1, **AGE},
            id="budget",
        ),
        pytest.param(
            "networking.k8s.io/v1 Ingress",
            {
                "spec": {
                    "ingressClassName": "nginx",
                    "tls": [{}],
                    "rules": [{"host": host} for host in ("a", "b", "c", "d", "e")],
                },
                "status": {"loadBalancer": {"ingress": [{"ip": "10.0.0.2"}, {"hostname": "lb"}, {"ip": "10.0.0.1"}]}},
            },
            {
                "Class": "nginx",
                "Hosts": "a,b,c + 2 more...",
                "Address": "10.0.0.1,10.0.0.2,lb",
                "Ports": "80, 443",
                **AGE,
            },
            id="ingress",
        ),
        pytest.param(
            "networking.k8s.io/v1 Ingress",
            {"spec": {}},
            {"Class": "<none>", "Hosts": "*", "Address": "", "Ports": "80", **AGE},
            id="ingress of everything",
        ),
        pytest.param(
            "networking.k8s.io/v1 IngressClass",
            {"spec": {"controller": "c", "parameters": {"apiGroup": "g", "kind": "K", "name": "n"}}},
            {"Controller": "c", "Parameters": "K.g/n", **AGE},
            id="ingress class",
        ),
        pytest.param("networking.k8s.io/v1 NetworkPolicy", {}, {"Pod-Selector": "<none>", **AGE}, id="policy"),
        pytest.param(
            "networking.k8s.io/v1 ServiceCIDR",
            {"spec": {"cidrs": ["10.0.0.0/24", "fd00::/120"]}},
            {"CIDRs": "10.0.0.0/24,fd00::/120", **AGE},
            id="service CIDR",
        ),
        pytest.param(
            "networking.k8s.io/v1 IPAddress",
            {"spec": {"parentRef": {"group": "g.io", "resource": "things", "name": "n"}}},
            {"ParentRef": "things.g.io/n"},
            id="address",
        ),
        pytest.param(
            "scheduling.k8s.io/v1 PriorityClass",
            {"value": 7, "preemptionPolicy": "Never"},
            {"Value": 7, "Global-Default": False, **AGE, "PreemptionPolicy": "Never"},
            id="priority",
        ),
        pytest.param("node.k8s.io/v1 RuntimeClass", {"handler": "h"}, {"Handler": "h", **AGE}, id="runtime class"),
        pytest.param(
            "storage.k8s.io/v1 CSIDriver",
            {"spec": {"podInfoOnMount": True, "tokenRequests": [{"audience": "a"}, {"audience": "b"}]}},
            {
                "AttachRequired": True,
                "PodInfoOnMount": True,
                "StorageCapacity": False,
                "TokenRequests": "a,b",
                "RequiresRepublish": False,
                "Modes": "<none>",
                **AGE,
            },
            id="driver",
        ),
        pytest.param(
            "storage.k8s.io/v1 CSINode", {"spec": {"drivers": [{"name": "a"}]}}, {"Drivers": 1, **AGE}, id="CSI node"
        ),
        pytest.param(
            "storage.k8s.io/v1 VolumeAttachment",
            {"spec": {"attacher": "a", "nodeName": "n", "source": {"persistentVolumeName": "p"}}},
            {"Attacher": "a", "PV": "p", "Node": "n", "Attached": False, **AGE},
            id="attachment",
        ),
        pytest.param(
            "rbac.authorization.k8s.io/v1 RoleBinding",
            {
                "roleRef": {"kind": "Role", "name": "r"},
                "subjects": [
                    {"kind": "User", "name": "ann"},
                    {"kind": "User", "name": "bob"},
                    {"kind": "ServiceAccount", "name": "sa", "namespace": "ns"},
                ],
            },
            {"Role": "Role/r", **AGE, "Users": "ann, bob", "Groups": "", "ServiceAccounts": "ns/sa"},
            id="binding",
        ),
        pytest.param(
            "certificates.k8s.io/v1 CertificateSigningRequest",
            {
                "spec": {"signerName": "s", "username": "u", "expirationSeconds": 3600},
                "status": {"conditions": [{"type": "Approved"}, {"type": "Failed"}], "certificate": "eA=="},
            },
            {
                **AGE,
                "SignerName": "s",
                "Requestor": "u",
                "RequestedDuration": "60m",
                "Condition": "Approved,Failed,Issued",
            },
            id="signing request",
        ),
        pytest.param(
            "certificates.k8s.io/v1 CertificateSigningRequest",
            {},
            {**AGE, "SignerName": "<none>", "Requestor": "", "RequestedDuration": "<none>", "Condition": "Pending"},
            id="pending signing request",
        ),
        pytest.param(
            "certificates.k8s.io/v1beta1 ClusterTrustBundle",
            {"spec": {"signerName": "example.com/s"}},
            {"SignerName": "example.com/s"},
            id="trust bundle of a signer",
        ),
        pytest.param(
            "certificates.k8s.io/v1beta1 ClusterTrustBundle", {}, {"SignerName": "<none>"}, id="trust bundle of nobody"
        ),
        pytest.param(
            "admissionregistration.k8s.io/v1 MutatingAdmissionPolicyBinding",
            {"spec": {"policyName": "p", "paramRef": {"selector": {"matchLabels": {"a": "b"}}}}},
            {"PolicyName": "p", "ParamRef": "a=b", **AGE},
            id="policy binding",
        ),
        pytest.param(
            "apiregistration.k8s.io/v1 APIService",
            {
                "spec": {"service": {"namespace": "ns", "name": "s"}},
                "status": {"conditions": [{"type": "Available", "status": "False", "reason": "Gone"}]},
            },
            {"Service": "ns/s", "Available": "False (Gone)", **AGE},
            id="API service",
        ),
        pytest.param(
            "apiregistration.k8s.io/v1 APIService",
            {},
            {"Service": "Local", "Available": "Unknown", **AGE},
            id="our own API",
        ),
        pytest.param(
            "flowcontrol.apiserver.k8s.io/v1 PriorityLevelConfiguration",
            {"spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 5}}},
            {
                "Type": "Limited",
                "NominalConcurrencyShares": 5,
                "Queues": "<none>",
                "HandSize": "<none>",
                "QueueLengthLimit": "<none>",
                **AGE,
            },
            id="priority level",
        ),
        pytest.param(
            "resource.k8s.io/v1 ResourceClaim",
            {"status": {"allocation": {}, "reservedFor": [{"resource": "pods"}]}},
            {"State": "allocated,reserved", **AGE},
            id="claim",
        ),
        pytest.param(
            "resource.k8s.io/v1 ResourceClaim",
            {"metadata": {"deletionTimestamp": CREATED}},
            {"State": "deleted", **AGE},
            id="claim that goes",
        ),
        pytest.param(
            "events.k8s.io/v1 Event",
            {
                "eventTime": "2023-11-14T23:12:20.000000Z",
                "regarding": {"kind": "Pod", "name": "p", "fieldPath": "f"},
                "reportingController": "c",
                "reportingInstance": "i",
                "note": "it happened\n",
                "series": {"count": 4, "lastObservedTime": "2023-11-14T23:13:10.000000Z"},
            },
            {
                "Last Seen": "10s",
                "Type": "",
                "Reason": "",
                "Object": "pod/p",
                "Subobject": "f",
                "Source": "c, i",
                "Message": "it happened",
                "First Seen": "60s",
                "Count": 4,
            },
            id="new event",
        ),
    ],
)
def test_rows(kind, fields, expected):
    found = cells(*kind.split(), **fields)
    assert list(found.items()) == list(expected.items())


def metric(type: str, name: str, member: str, **target) -> dict:
    named = {"name": name} if member.endswith("esource") else {"metric": {"name": name}}
    return {"type": type, member: {**named, "target": {"type": "x", **target}}}


@pytest.mark.parametrize(
    ("metrics", "current", "text"),
    [
        ([], [], "<none>"),
        ([metric("Resource", "cpu", "resource", averageUtilization=80)], [], "cpu: <unknown>/80%"),
        (
            [metric("Resource", "cpu", "resource", averageUtilization=80)],
            [{"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 10}}}],
            "cpu: 10%/80%",
        ),
        ([metric("Resource", "cpu", "resource")], [], "cpu: <unknown>/<auto>"),
        (
            [metric("ContainerResource", "memory", "containerResource", averageValue="1Gi")],
            [{"containerResource": {"current": {"averageValue": "1Mi"}}}],
            "memory: 1Mi/1Gi",
        ),
        ([metric("Pods", "hits", "pods", averageValue="10")], [], "<unknown>/10"),
        ([metric("Object", "hits", "object", value="10")], [{"object": {"current": {"value": "3"}}}], "3/10"),
        ([metric("External", "q", "external", averageValue="4")], [], "<unknown>/4 (avg)"),
        ([{"type": "Other"}] * 4, [], "<unknown type>, <unknown type> + 2 more..."),
    ],
)
def test_targets_of_an_autoscaler(metrics, current, text):
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "metrics": metrics, "maxReplicas": 5}
    found = cells(
        "autoscaling/v2", "HorizontalPodAutoscaler", spec=spec, status={"currentMetrics": current, "currentReplicas": 2}
    )
    expected = {"Reference": "Deployment/web", "Targets": text, "MinPods": "<unset>", "MaxPods": 5, "Replicas": 2}
    assert found == {**expected, **AGE}


def test_an_autoscaler_of_the_first_version():
    spec = {"scaleTargetRef": {"kind": "D", "name": "w"}, "minReplicas": 1, "targetCPUUtilizationPercentage": 70}
    found = cells("autoscaling/v1", "HorizontalPodAutoscaler", spec=spec)
    assert (found["Targets"], found["MinPods"]) == ("cpu: <unknown>/70%", "1")


@pytest.mark.parametrize("kind", list(KINDS), ids=lambda kind: f"{kind.api_version}-{kind.kind}")
def test_every_kind_has_a_row_for_an_empty_object(kind):
    table = table_for(kind)
    assert len(table.row(kind.message(), NOW)) == len(table.columns)
    assert {column.type for column in table.columns} <= {"string", "integer", "boolean", "date"}
