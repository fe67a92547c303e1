# ruff: noqa: E501 -- tables of messages
"""Rules for volumes, claims and the storage API."""

import pytest

STORAGE = "storage.k8s.io/v1"
VOLUME = {
    "apiVersion": "v1",
    "kind": "PersistentVolume",
    "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/data"}},
}
CLAIM = {
    "apiVersion": "v1",
    "kind": "PersistentVolumeClaim",
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}
CLASS = {"apiVersion": STORAGE, "kind": "StorageClass", "provisioner": "example.com/p", "parameters": {"a": "1"}}
DRIVER = {"apiVersion": STORAGE, "kind": "CSIDriver", "spec": {}}
NODE = {
    "apiVersion": STORAGE,
    "kind": "CSINode",
    "spec": {"drivers": [{"name": "d", "nodeID": "n", "topologyKeys": ["a"]}]},
}
CAPACITY = {"apiVersion": STORAGE, "kind": "CSIStorageCapacity", "storageClassName": "c", "capacity": "1Gi"}
ATTACHMENT = {
    "apiVersion": STORAGE,
    "kind": "VolumeAttachment",
    "spec": {"attacher": "d", "nodeName": "n", "source": {"persistentVolumeName": "v"}},
}
ATTRIBUTES = {"apiVersion": STORAGE, "kind": "VolumeAttributesClass", "driverName": "d", "parameters": {"a": "1"}}
TERM = {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}]}
MODES = '"ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"'

NEW = [
    (VOLUME, {}, []),
    (VOLUME, {"spec": {"accessModes": []}}, ["spec.accessModes: Required value"]),
    (VOLUME, {"spec": {"accessModes": ["X"]}}, [f'spec.accessModes: Unsupported value: "X": supported values: {MODES}']),
    (VOLUME, {"spec": {"accessModes": ["ReadWriteOncePod", "ReadOnlyMany"]}}, ["spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes"]),
    (VOLUME, {"spec": {"capacity": None}}, ["spec.capacity: Required value", 'spec.capacity: Unsupported value: {}: supported values: "storage"']),
    (VOLUME, {"spec": {"capacity": {"storage": "0"}}}, ['spec.capacity[storage]: Invalid value: "0": must be greater than zero']),
    (VOLUME, {"spec": {"capacity": {"cpu": "1"}}}, ['spec.capacity: Unsupported value: {"cpu":"1","storage":"1Gi"}: supported values: "storage"']),
    (VOLUME, {"spec": {"hostPath": None}}, ["spec: Required value: must specify a volume type"]),
    (VOLUME, {"spec": {"nfs": {"server": "s", "path": "/p"}}}, ["spec.nfs: Forbidden: may not specify more than 1 volume type"]),
    (VOLUME, {"spec": {"hostPath": {"path": "/a/../b"}}}, ["spec.hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"]),
    (VOLUME, {"spec": {"hostPath": {"path": "/"}, "persistentVolumeReclaimPolicy": "Recycle"}}, ["spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'"]),
    (VOLUME, {"spec": {"persistentVolumeReclaimPolicy": "Burn"}}, ['spec.persistentVolumeReclaimPolicy: Unsupported value: "Burn": supported values: "Delete", "Recycle", "Retain"']),
    (VOLUME, {"spec": {"volumeMode": "Tape"}}, ['spec.volumeMode: Unsupported value: "Tape": supported values: "Block", "Filesystem"']),
    (VOLUME, {"spec": {"hostPath": None, "local": {"path": "/d"}}}, ["spec.nodeAffinity: Required value: Local volume requires node affinity"]),
    (VOLUME, {"spec": {"hostPath": None, "local": {"path": "/d"}, "nodeAffinity": {"required": TERM}}}, []),
    (VOLUME, {"spec": {"nodeAffinity": {}}}, ["spec.nodeAffinity.required: Required value: must specify required node constraints"]),
    (VOLUME, {"spec": {"hostPath": None, "nfs": {"server": "", "path": "p"}}}, ["spec.nfs.server: Required value", 'spec.nfs.path: Invalid value: "p": must be an absolute path']),
    (VOLUME, {"spec": {"hostPath": None, "csi": {"driver": "d", "volumeHandle": ""}}}, ["spec.csi.volumeHandle: Required value"]),
    (VOLUME, {"spec": {"hostPath": None, "csi": {"driver": "d", "volumeHandle": "h", "nodeStageSecretRef": {"name": "s"}}}}, ["spec.csi.nodeStageSecretRef.namespace: Required value"]),
    (VOLUME, {"spec": {"hostPath": None, "iscsi": {"targetPortal": "p", "iqn": "x", "lun": 300}}}, ['spec.iscsi.iqn: Invalid value: "x": must be valid format starting with iqn, eui, or naa', "spec.iscsi.lun: Invalid value: 300: must be between 0 and 255, inclusive"]),
    (VOLUME, {"spec": {"volumeAttributesClassName": "c"}}, ["spec.csi: Required value: has to be specified when using volumeAttributesClassName"]),
    (CLAIM, {}, []),
    (CLAIM, {"spec": {"accessModes": []}}, ["spec.accessModes: Required value: at least 1 access mode is required"]),
    (CLAIM, {"spec": {"resources": None}}, ["spec.resources[storage]: Required value"]),
    (CLAIM, {"spec": {"resources": {"requests": {"storage": "-1"}}}}, ['spec.resources[storage]: Invalid value: "-1": must be greater than zero']),
    (CLAIM, {"spec": {"storageClassName": ""}}, []),
    (CLAIM, {"spec": {"dataSource": {"kind": "PersistentVolumeClaim", "name": "a"}}}, []),
    (CLAIM, {"spec": {"dataSource": {"kind": "Disk", "name": "a"}}}, ["spec.dataSource: Invalid value: \"Disk\": must be 'PersistentVolumeClaim' when referencing the default apiGroup", "spec.dataSourceRef: Invalid value: \"Disk\": must be 'PersistentVolumeClaim' when referencing the default apiGroup"]),
    (CLAIM, {"spec": {"dataSource": {"kind": "PersistentVolumeClaim", "name": "a"}, "dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "b"}}}, ['spec: Invalid value: "spec.dataSource": must match dataSourceRef']),
    (CLASS, {}, []),
    (CLASS, {"provisioner": ""}, ["provisioner: Required value"]),
    (CLASS, {"provisioner": "Example.com/P"}, []),
    (CLASS, {"reclaimPolicy": "Recycle"}, ['reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"']),
    (CLASS, {"volumeBindingMode": "Later"}, ['volumeBindingMode: Unsupported value: "Later": supported values: "Immediate", "WaitForFirstConsumer"']),
    (CLASS, {"parameters": {"": "1"}}, ['parameters: Invalid value: "": field can not be empty.']),
    (CLASS, {"parameters": {"big": "x" * 2**18}}, ["parameters: Too long: may not be more than 262144 bytes"]),
    (CLASS, {"allowedTopologies": [{"matchLabelExpressions": [{"key": "a", "values": []}]}]}, ["allowedTopologies[0].matchLabelExpressions[0].values: Required value"]),
    (CLASS, {"allowedTopologies": [{"matchLabelExpressions": [{"key": "a", "values": ["1", "1"]}]}]}, ['allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: "1"']),
    (CLASS, {"allowedTopologies": [{"matchLabelExpressions": [{"key": "a", "values": ["1"]}]}] * 2}, ['allowedTopologies[1].matchLabelExpressions: Duplicate value: ""']),
    (DRIVER, {}, []),
    (DRIVER, {"spec": {"fsGroupPolicy": "All"}}, ['spec.fsGroupPolicy: Unsupported value: "All": supported values: "File", "None", "ReadWriteOnceWithFSType"']),
    (DRIVER, {"spec": {"volumeLifecycleModes": ["Once"]}}, ['spec.volumeLifecycleModes: Unsupported value: "Once": supported values: "Ephemeral", "Persistent"']),
    (DRIVER, {"spec": {"tokenRequests": [{"audience": "a"}, {"audience": "a"}]}}, ['spec.tokenRequests[1].audience: Duplicate value: "a"']),
    (DRIVER, {"spec": {"tokenRequests": [{"audience": "a", "expirationSeconds": 5}]}}, ["spec.tokenRequests[0].expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes"]),
    (NODE, {}, []),
    (NODE, {"spec": {"drivers": [{"name": "d", "nodeID": "", "topologyKeys": []}]}}, ["spec.drivers[0].nodeID: Required value"]),
    (NODE, {"spec": {"drivers": [{"name": "d", "nodeID": "n" * 257, "topologyKeys": []}]}}, [f'spec.drivers[0].nodeID: Invalid value: "{"n" * 257}": must be 256 characters or less']),
    (NODE, {"spec": {"drivers": [{"name": "d", "nodeID": "n", "topologyKeys": ["a", "a"]}]}}, ['spec.drivers[0]: Duplicate value: "a"']),
    (NODE, {"spec": {"drivers": [{"name": "d", "nodeID": "n", "topologyKeys": [], "allocatable": {"count": -1}}]}}, ["spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0"]),
    (CAPACITY, {}, []),
    (CAPACITY, {"capacity": "-1"}, ['capacity: Invalid value: "-1": must be greater than or equal to 0']),
    (ATTACHMENT, {}, []),
    (ATTACHMENT, {"spec": {"attacher": ""}}, ["spec.attacher: Required value"]),
    (ATTACHMENT, {"spec": {"source": {"persistentVolumeName": None}}}, ["spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName"]),
    (ATTACHMENT, {"spec": {"source": {"persistentVolumeName": None, "inlineVolumeSpec": {"accessModes": ["ReadWriteOnce"], "csi": {"driver": "d", "volumeHandle": "h"}}}}}, []),
    (ATTACHMENT, {"spec": {"source": {"persistentVolumeName": None, "inlineVolumeSpec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1"}, "nfs": {"server": "s", "path": "/p"}}}}}, ["spec.source.inlineVolumeSpec.capacity: Forbidden: may not be specified in the context of inline volumes", "spec.source.inlineVolumeSpec.csi: Required value: has to be specified in the context of inline volumes"]),
    (ATTRIBUTES, {}, []),
    (ATTRIBUTES, {"driverName": ""}, ["driverName: Required value"]),
    (ATTRIBUTES, {"parameters": None}, ["parameters: Required value: must contain at least one key/value pair"]),
]  # fmt: skip


@pytest.mark.parametrize(("manifest", "changes", "expected"), NEW, ids=[f"{case[0]['kind']}-{i}" for i, case in enumerate(NEW)])  # fmt: skip
def test_new(door, patched, manifest, changes, expected):
    assert door.refused(patched(manifest, changes)) == expected


def bound(**spec) -> dict:
    status = {"phase": "Bound", "capacity": {"storage": "1Gi"}}
    return {**CLAIM, "spec": {**CLAIM["spec"], "volumeName": "v", "storageClassName": "c", **spec}, "status": status}


def sized(amount: str) -> dict:
    return {"resources": {"requests": {"storage": amount}}}


FIXED_SPEC = "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
CHANGES = [
    (VOLUME, {"spec": {"hostPath": {"path": "/other"}}}, ["spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation"]),
    (VOLUME, {"spec": {"volumeMode": "Block"}}, ['volumeMode: Invalid value: "Block": field is immutable']),
    (VOLUME, {"spec": {"capacity": {"storage": "2Gi"}, "nodeAffinity": {"required": TERM}}}, []),
    (CLAIM, {"spec": {"volumeName": "v"}}, []),
    (CLAIM, {"spec": {"storageClassName": "c"}}, []),
    (CLAIM, {"spec": sized("2Gi")}, [FIXED_SPEC]),
    (CLAIM, {"metadata": {"annotations": {"volume.beta.kubernetes.io/storage-class": "c"}}}, ['metadata.annotations[volume.beta.kubernetes.io/storage-class]: Invalid value: "c": field is immutable']),
    (bound(), {"spec": sized("2Gi")}, []),
    (bound(), {"spec": {"volumeAttributesClassName": "fast"}}, []),
    (bound(), {"spec": {"volumeName": "w"}}, [FIXED_SPEC]),
    (bound(), {"spec": {"storageClassName": "d"}}, [FIXED_SPEC]),
    (bound(), {"spec": sized("1Mi")}, ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"]),
    (bound(**sized("3Gi")), {"spec": sized("2Gi")}, []),
    (bound(volumeAttributesClassName="a"), {"spec": {"volumeAttributesClassName": None}}, ["spec.volumeAttributesClassName: Forbidden: update from non-nil value to nil is forbidden"]),
    (bound(volumeAttributesClassName="a"), {"spec": {"volumeAttributesClassName": ""}}, ["spec.volumeAttributesClassName: Forbidden: update from non-nil value to an empty string is forbidden"]),
    (CLASS, {"metadata": {"labels": {"a": "b"}}, "allowVolumeExpansion": True}, []),
    (CLASS, {"parameters": {"b": "2"}}, ["parameters: Forbidden: updates to parameters are forbidden."]),
    (CLASS, {"provisioner": "other"}, ["provisioner: Forbidden: updates to provisioner are forbidden."]),
    (CLASS, {"reclaimPolicy": "Retain"}, ["reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden."]),
    (CLASS, {"volumeBindingMode": "WaitForFirstConsumer"}, ['volumeBindingMode: Invalid value: "WaitForFirstConsumer": field is immutable']),
    (DRIVER, {"spec": {"attachRequired": False}}, ["spec.attachedRequired: Invalid value: false: field is immutable"]),
    (DRIVER, {"spec": {"podInfoOnMount": True, "fsGroupPolicy": "File"}}, []),
    (DRIVER, {"spec": {"volumeLifecycleModes": ["Ephemeral"]}}, ['spec.volumeLifecycleModes: Invalid value: ["Ephemeral"]: field is immutable']),
    (NODE, {"spec": {"drivers": []}}, []),
    (NODE, {"spec": {"drivers": [{"name": "d", "nodeID": "other", "topologyKeys": ["a"]}]}}, ['CSINodeDriver: Invalid value: {"name":"d","nodeID":"other","topologyKeys":["a"]}: field is immutable']),
    (CAPACITY, {"capacity": "2Gi"}, []),
    (CAPACITY, {"storageClassName": "d"}, ['storageClassName: Invalid value: "d": field is immutable']),
    (CAPACITY, {"nodeTopology": {"matchLabels": {"a": "b"}}}, ['nodeTopology: Invalid value: {"matchLabels":{"a":"b"}}: field is immutable']),
    (ATTACHMENT, {"spec": {"nodeName": "m"}}, ['spec: Invalid value: {"attacher":"d","source":{"persistentVolumeName":"v"},"nodeName":"m"}: field is immutable']),
    (ATTRIBUTES, {"driverName": "e", "parameters": {"a": "2"}}, ["driverName: Forbidden: updates to driverName are forbidden.", "parameters: Forbidden: updates to parameters are forbidden."]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "changes", "expected"), CHANGES, ids=[f"{case[0]['kind']}-{i}" for i, case in enumerate(CHANGES)])  # fmt: skip
def test_changed(door, patched, old, changes, expected):
    assert door.change_refused(old, patched(old, changes)) == expected


@pytest.mark.parametrize(
    ("manifest", "status", "expected"),
    [
        (CLAIM, {"phase": "Bound", "capacity": {"storage": "1Gi"}}, []),
        (CLAIM, {"capacity": {"storage": "-1"}}, ['status.capacity[storage]: Invalid value: "-1": must be greater than or equal to 0']),
        (CLAIM, {"allocatedResourceStatuses": {"storage": "Growing"}}, ['status.allocatedResourceStatus[storage]: Unsupported value: "Growing": supported values: "ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible", "NodeResizePending"']),
        (CLAIM, {"allocatedResources": {"cpu": "1"}}, ['status.allocatedResources[cpu]: Unsupported value: "cpu": supported values: "storage"']),
        (ATTACHMENT, {"attached": True, "attachError": {"message": "x" * 1025}}, ["status.attachError.message: Too long: may not be more than 1024 bytes"]),
    ],
)  # fmt: skip
def test_status(door, manifest, status, expected):
    assert door.change_refused(manifest, {**manifest, "status": status}, "status") == expected


def test_new_volumes_and_claims_wait(door):
    for manifest in (VOLUME, CLAIM):
        assert door.created({**manifest, "status": {"phase": "Bound"}})["status"] == {"phase": "Pending"}


def test_both_ways_to_name_a_data_source(door, patched):
    source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"}
    for field, other in (("dataSource", "dataSourceRef"), ("dataSourceRef", "dataSource")):
        spec = door.created(patched(CLAIM, {"spec": {field: source}}))["spec"]
        assert spec[other] == source
    elsewhere = door.created(patched(CLAIM, {"spec": {"dataSourceRef": {**source, "namespace": "other"}}}))
    assert "dataSource" not in elsewhere["spec"]


def test_recycling_is_warned_of(door, patched):
    (warning,) = door.warned(patched(VOLUME, {"spec": {"persistentVolumeReclaimPolicy": "Recycle"}}))
    assert warning.startswith("spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated.")


def test_an_attachments_status_is_all_that_its_attacher_changes(door, patched):
    changed = patched(
        ATTACHMENT, {"metadata": {"labels": {"a": "b"}}, "spec": {"nodeName": "m"}, "status": {"attached": True}}
    )
    through = door.changed(ATTACHMENT, changed, "status")
    assert (through["spec"]["nodeName"], through["status"]["attached"]) == ("n", True)
    assert "labels" not in through["metadata"]
