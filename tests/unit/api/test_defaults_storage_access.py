"""Defaults of storage, access, admission, flow control, devices and what extends the API: one case a field."""

import pytest

WEBHOOK = {"name": "a.b.c", "clientConfig": {"service": {"namespace": "n", "name": "s"}}, "rules": [{}]}
ADMISSION = "admissionregistration.k8s.io/v1"
EXTENSIONS = "apiextensions.k8s.io/v1"
FLOW = "flowcontrol.apiserver.k8s.io/v1"
RBAC = "rbac.authorization.k8s.io/v1"
DEVICES = "resource.k8s.io/v1"


def at(value, path: str):
    """The value at a path such as "spec.rules.0.scope"."""
    for step in path.split("/"):
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


CASES = [
    # Admission.
    *(
        (ADMISSION, kind, {"webhooks": [WEBHOOK]}, f"webhooks/0/{field}", expected)
        for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
        for field, expected in (
            ("failurePolicy", "Fail"),
            ("matchPolicy", "Equivalent"),
            ("namespaceSelector", {}),
            ("objectSelector", {}),
            ("timeoutSeconds", 10),
            ("rules/0/scope", "*"),
            ("clientConfig/service/port", 443),
        )
    ),
    (ADMISSION, "MutatingWebhookConfiguration", {"webhooks": [WEBHOOK]}, "webhooks/0/reinvocationPolicy", "Never"),
    *(
        (ADMISSION, kind, {"spec": {"matchConstraints": {"resourceRules": [{}]}}}, f"spec/{field}", expected)
        for kind in ("MutatingAdmissionPolicy", "ValidatingAdmissionPolicy")
        for field, expected in (
            ("failurePolicy", "Fail"),
            ("matchConstraints/matchPolicy", "Equivalent"),
            ("matchConstraints/namespaceSelector", {}),
            ("matchConstraints/objectSelector", {}),
            ("matchConstraints/resourceRules/0/scope", "*"),
        )
    ),
    *(
        (
            ADMISSION,
            kind,
            {"spec": {"matchResources": {"excludeResourceRules": [{}]}}},
            f"spec/matchResources/{field}",
            expected,
        )
        for kind in ("MutatingAdmissionPolicyBinding", "ValidatingAdmissionPolicyBinding")
        for field, expected in (("matchPolicy", "Equivalent"), ("excludeResourceRules/0/scope", "*"))
    ),
    # Storage.
    ("storage.k8s.io/v1", "StorageClass", {"provisioner": "p"}, "reclaimPolicy", "Delete"),
    ("storage.k8s.io/v1", "StorageClass", {"provisioner": "p"}, "volumeBindingMode", "Immediate"),
    *(
        ("storage.k8s.io/v1", "CSIDriver", {"spec": {}}, f"spec/{field}", expected)
        for field, expected in (
            ("attachRequired", True),
            ("fsGroupPolicy", "ReadWriteOnceWithFSType"),
            ("podInfoOnMount", False),
            ("requiresRepublish", False),
            ("seLinuxMount", False),
            ("storageCapacity", False),
            ("volumeLifecycleModes", ["Persistent"]),
        )
    ),
    *(
        ("v1", "PersistentVolume", {"spec": source}, path, expected)
        for source, path, expected in (
            ({}, "status/phase", "Pending"),
            ({}, "spec/persistentVolumeReclaimPolicy", "Retain"),
            ({}, "spec/volumeMode", "Filesystem"),
            ({"hostPath": {"path": "/a"}}, "spec/hostPath/type", ""),
            ({"iscsi": {"targetPortal": "p", "iqn": "i", "lun": 0}}, "spec/iscsi/iscsiInterface", "default"),
            ({"rbd": {"monitors": ["m"], "image": "i"}}, "spec/rbd/pool", "rbd"),
            ({"rbd": {"monitors": ["m"], "image": "i"}}, "spec/rbd/user", "admin"),
            ({"rbd": {"monitors": ["m"], "image": "i"}}, "spec/rbd/keyring", "/etc/ceph/keyring"),
            ({"azureDisk": {"diskName": "d", "diskURI": "u"}}, "spec/azureDisk/cachingMode", "ReadWrite"),
            ({"azureDisk": {"diskName": "d", "diskURI": "u"}}, "spec/azureDisk/fsType", "ext4"),
            ({"azureDisk": {"diskName": "d", "diskURI": "u"}}, "spec/azureDisk/kind", "Shared"),
            ({"azureDisk": {"diskName": "d", "diskURI": "u"}}, "spec/azureDisk/readOnly", False),
            ({"scaleIO": {"gateway": "g", "system": "s"}}, "spec/scaleIO/storageMode", "ThinProvisioned"),
            ({"scaleIO": {"gateway": "g", "system": "s"}}, "spec/scaleIO/fsType", "xfs"),
            ({"capacity": {"storage": "1024Mi"}}, "spec/capacity/storage", "1Gi"),
        )
    ),
    ("v1", "PersistentVolumeClaim", {"spec": {}}, "status/phase", "Pending"),
    ("v1", "PersistentVolumeClaim", {"spec": {}}, "spec/volumeMode", "Filesystem"),
    # Access.
    (RBAC, "RoleBinding", {"roleRef": {"kind": "Role", "name": "r"}}, "roleRef/apiGroup", RBAC.split("/")[0]),
    (RBAC, "ClusterRoleBinding", {"roleRef": {"kind": "ClusterRole"}}, "roleRef/apiGroup", RBAC.split("/")[0]),
    *(
        (RBAC, "RoleBinding", {"subjects": [{"kind": kind, "name": "x"}]}, "subjects/0/apiGroup", RBAC.split("/")[0])
        for kind in ("User", "Group")
    ),
    # Flow control.
    (FLOW, "FlowSchema", {"spec": {}}, "spec/matchingPrecedence", 1000),
    *(
        (FLOW, "PriorityLevelConfiguration", {"spec": spec}, path, expected)
        for spec, path, expected in (
            ({"exempt": {}}, "spec/exempt/nominalConcurrencyShares", 0),
            ({"exempt": {}}, "spec/exempt/lendablePercent", 0),
            ({"limited": {}}, "spec/limited/nominalConcurrencyShares", 30),
            ({"limited": {"nominalConcurrencyShares": 0}}, "spec/limited/nominalConcurrencyShares", 0),
            ({"limited": {}}, "spec/limited/lendablePercent", 0),
            ({"limited": {"limitResponse": {"queuing": {}}}}, "spec/limited/limitResponse/queuing/handSize", 8),
            ({"limited": {"limitResponse": {"queuing": {}}}}, "spec/limited/limitResponse/queuing/queues", 64),
            (
                {"limited": {"limitResponse": {"queuing": {}}}},
                "spec/limited/limitResponse/queuing/queueLengthLimit",
                50,
            ),
        )
    ),
    # Devices.
    *(
        (
            DEVICES,
            "ResourceClaim",
            {"spec": {"devices": {"requests": [request]}}},
            f"spec/devices/requests/0/{path}",
            to,
        )
        for request, path, to in (
            ({"name": "r", "exactly": {}}, "exactly/allocationMode", "ExactCount"),
            ({"name": "r", "exactly": {}}, "exactly/count", 1),
            ({"name": "r", "exactly": {"tolerations": [{"key": "k"}]}}, "exactly/tolerations/0/operator", "Equal"),
            ({"name": "r", "firstAvailable": [{"name": "s"}]}, "firstAvailable/0/allocationMode", "ExactCount"),
            ({"name": "r", "firstAvailable": [{"name": "s"}]}, "firstAvailable/0/count", 1),
        )
    ),
    (
        DEVICES,
        "ResourceClaimTemplate",
        {"spec": {"spec": {"devices": {"requests": [{"name": "r", "exactly": {}}]}}}},
        "spec/spec/devices/requests/0/exactly/count",
        1,
    ),
    # Extensions.
    (EXTENSIONS, "CustomResourceDefinition", {"spec": {"names": {"kind": "Cron"}}}, "spec/names/singular", "cron"),
    (EXTENSIONS, "CustomResourceDefinition", {"spec": {"names": {"kind": "Cron"}}}, "spec/names/listKind", "CronList"),
    (EXTENSIONS, "CustomResourceDefinition", {"spec": {}}, "spec/conversion", {"strategy": "None"}),
    (
        EXTENSIONS,
        "CustomResourceDefinition",
        {"spec": {"versions": [{"name": "v1"}, {"name": "v2", "storage": True}]}},
        "status/storedVersions",
        ["v2"],
    ),
    (
        EXTENSIONS,
        "CustomResourceDefinition",
        {"spec": {"conversion": {"strategy": "Webhook", "webhook": {"clientConfig": {"service": {"name": "s"}}}}}},
        "spec/conversion/webhook/clientConfig/service/port",
        443,
    ),
    ("apiregistration.k8s.io/v1", "APIService", {"spec": {"service": {"name": "s"}}}, "spec/service/port", 443),
    # Nodes say their first block twice.
    ("v1", "Node", {"spec": {"podCIDR": "10.0.0.0/24"}}, "spec/podCIDRs", ["10.0.0.0/24"]),
    ("v1", "Node", {"spec": {"podCIDRs": ["10.0.0.0/24"]}}, "spec/podCIDR", "10.0.0.0/24"),
]


@pytest.mark.parametrize(
    ("api_version", "kind", "fields", "path", "expected"),
    CASES,
    ids=[f"{case[1]}-{case[3]}-{index}" for index, case in enumerate(CASES)],
)
def test_default(door, api_version, kind, fields, path, expected):
    manifest = {"apiVersion": api_version, "kind": kind, **fields}
    defaulted = door.defaulted(manifest)
    assert at(defaulted, path) == expected
    assert door.defaulted(defaulted) == defaulted


@pytest.mark.parametrize(
    ("api_version", "kind", "fields", "path"),
    [
        (RBAC, "RoleBinding", {"subjects": [{"kind": "ServiceAccount", "name": "x"}]}, "subjects/0/apiGroup"),
        (
            DEVICES,
            "ResourceClaim",
            {"spec": {"devices": {"requests": [{"exactly": {"allocationMode": "All"}}]}}},
            "spec/devices/requests/0/exactly/count",
        ),
        ("apiregistration.k8s.io/v1", "APIService", {"spec": {}}, "spec/service"),
        (ADMISSION, "ValidatingAdmissionPolicy", {"spec": {}}, "spec/matchConstraints"),
        (FLOW, "PriorityLevelConfiguration", {"spec": {}}, "spec/limited"),
    ],
)
def test_no_default(door, api_version, kind, fields, path):
    defaulted = door.defaulted({"apiVersion": api_version, "kind": kind, **fields})
    with pytest.raises(KeyError):
        at(defaulted, path)


def test_what_is_said_stays(door):
    said = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "p", "reclaimPolicy": "Retain"}
    assert door.defaulted(said)["reclaimPolicy"] == "Retain"
    driver = {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "spec": {"attachRequired": False}}
    assert door.defaulted(driver)["spec"]["attachRequired"] is False
