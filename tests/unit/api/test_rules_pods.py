# ruff: noqa: E501 -- tables of messages
"""Pods: rules of the rarer fields, warnings, what may change while gated, what a status may say."""

import pytest


def a_pod(patched, spec: dict | None = None, container: dict | None = None, metadata: dict | None = None) -> dict:
    main = {"name": "c", "image": "x", **(container or {})}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata or {}, "spec": {"containers": [main]}}
    return patched(pod, {"spec": spec or {}})


def volume(**source) -> dict:
    return {"volumes": [{"name": "v", **source}]}


V = "spec.volumes[0]"
C = "spec.containers[0]"
FORBIDDEN = "Forbidden"


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (volume(rbd={"monitors": [], "image": "i"}), f"{V}.rbd.monitors: Required value"),
        (
            volume(iscsi={"targetPortal": "p", "iqn": "x", "lun": 1}),
            f'{V}.iscsi.iqn: Invalid value: "x": must be valid format starting with iqn, eui, or naa',
        ),
        (volume(fc={"targetWWNs": ["w"]}), f"{V}.fc.lun: Required value: lun is required if targetWWNs is specified"),
        (volume(csi={"driver": "a b"}), f'{V}.csi.driver: Invalid value: "a b"'),
        (
            volume(gitRepo={"repository": "r", "directory": "../x"}),
            f"{V}.gitRepo.directory: Invalid value: \"../x\": must not contain '..'",
        ),
        (
            volume(projected={"sources": [{"clusterTrustBundle": {"path": "p"}}]}),
            f"{V}.projected.sources[0].clusterTrustBundle: Required value: either name or signerName must be specified",
        ),
        (
            volume(projected={"sources": [{"podCertificate": {"signerName": "a.b/c", "keyType": "ED25519"}}]}),
            f"{V}.projected.sources[0].podCertificate: Required value: specify at least one of credentialBundlePath, keyPath, and certificateChainPath",
        ),
        (
            volume(ephemeral={"volumeClaimTemplate": {"spec": {"resources": {"requests": {"storage": "1"}}}}}),
            f"{V}.ephemeral.volumeClaimTemplate.spec.accessModes: Required value: at least 1 access mode is required",
        ),
        ({"resourceClaims": [{"name": "r"}]}, "spec.resourceClaims[0]: Invalid value:"),
        ({"os": {"name": "plan9"}}, 'spec.os: Unsupported value: "plan9": supported values: "linux", "windows"'),
        ({"os": {"name": "windows"}, "hostPID": True}, "spec.hostPID: Forbidden: cannot be set for a windows pod"),
        (
            {"os": {"name": "linux"}, "securityContext": {"windowsOptions": {}}},
            "spec.securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod",
        ),
        ({"hostUsers": False, "hostIPC": True}, "spec.HostIPC: Forbidden: when `hostUsers` is false"),
        (
            {"hostnameOverride": "a", "setHostnameAsFQDN": True},
            "spec.hostnameOverride: Forbidden: may not be specified when setHostnameAsFQDN is true",
        ),
        (
            {"dnsConfig": {"searches": ["a b"]}},
            'spec.dnsConfig.searches[0]: Invalid value: "a b": a lowercase RFC 1123 subdomain',
        ),
        (
            {"securityContext": {"sysctls": [{"name": "A", "value": "1"}]}},
            'spec.securityContext.sysctls[0].name: Invalid value: "A": must have at most 253 characters and match regex',
        ),
        (
            {"hostNetwork": True, "securityContext": {"sysctls": [{"name": "net.x", "value": "1"}]}},
            "spec.securityContext.sysctls[0].name: Invalid value: \"net.x\": may not be specified when 'hostNetwork' is true",
        ),
        (
            {"resources": {"requests": {"example.com/x": "1"}, "limits": {"example.com/x": "1"}}},
            "spec.resources.limits[example.com/x]: Unsupported value:",
        ),
    ],
)
def test_spec(door, patched, spec, error):
    assert door.refused(a_pod(patched, spec))[0].startswith(error)


@pytest.mark.parametrize(
    ("container", "error"),
    [
        (
            {"restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [1]}}]},
            f"{C}.restartPolicy: Required value: must specify restartPolicy when restart rules are used",
        ),
        (
            {"restartPolicy": "Never", "restartPolicyRules": [{"action": "Restart"}]},
            f"{C}.restartPolicyRules[0].exitCodes: Required value: must be specified",
        ),
        (
            {"resources": {"claims": [{"name": "r"}]}},
            f'{C}.resources.claims[0]: Not found: "r": must be one of the names in pod.spec.resourceClaims which is empty',
        ),
        (
            {"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}},
            f"{C}.lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)",
        ),
        (
            {"lifecycle": {"stopSignal": "SIGTERM"}},
            f"{C}.lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`",
        ),
        (
            {"readinessProbe": {"tcpSocket": {"port": 1}, "terminationGracePeriodSeconds": 1}},
            f"{C}.readinessProbe.terminationGracePeriodSeconds: Invalid value: 1: must not be set for readinessProbes",
        ),
        (
            {"env": [{"name": "A", "valueFrom": {"fileKeyRef": {"volumeName": "v", "path": "p", "key": "k"}}}]},
            f'{C}.env[0].valueFrom.fileKeyRef.volumeName: Not found: "v"',
        ),
        (
            {"securityContext": {"procMount": "Unmasked"}},
            f'{C}.securityContext.procMount: Invalid value: "Unmasked": `hostUsers` must be false to use `Unmasked`',
        ),
        (
            {"securityContext": {"appArmorProfile": {"type": "Localhost"}}},
            f"{C}.securityContext.appArmorProfile.localhostProfile: Required value: must be set when AppArmor type is Localhost",
        ),
    ],
)
def test_container(door, patched, container, error):
    assert door.refused(a_pod(patched, None, container)) == [error]


@pytest.mark.parametrize(
    ("mount", "error"),
    [
        (
            {"mountPropagation": "Bidirectional"},
            "mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers",
        ),
        ({"recursiveReadOnly": "Enabled"}, "recursiveReadOnly: Forbidden: may only be specified when readOnly is true"),
        (
            {"subPath": "a", "subPathExpr": "b"},
            '[0].subPathExpr: Invalid value: "b": subPathExpr and subPath are mutually exclusive',
        ),
    ],
)
def test_mounts(door, patched, mount, error):
    pod = a_pod(patched, volume(emptyDir={}), {"volumeMounts": [{"name": "v", "mountPath": "/v", **mount}]})
    (found,) = door.refused(pod)
    assert found.removeprefix(f"{C}.volumeMounts").removeprefix(".") == error


@pytest.mark.parametrize(
    ("spec", "container", "warning"),
    [
        (
            {"terminationGracePeriodSeconds": -1},
            {},
            "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1",
        ),
        (
            {"nodeSelector": {"beta.kubernetes.io/os": "linux"}},
            {},
            'spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead',
        ),
        (
            {},
            {"resources": {"requests": {"memory": "100m"}}},
            f'{C}.resources.requests[memory]: fractional byte value "100m" is invalid, must be an integer',
        ),
        (
            {},
            {"ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 1, "name": "b"}]},
            f"{C}.ports[1]: duplicate port definition with {C}.ports[0]",
        ),
        ({"imagePullSecrets": [{"name": ""}]}, {}, 'spec.imagePullSecrets[0].name: invalid empty name ""'),
        (volume(gitRepo={"repository": "r"}), {}, f"{V}.gitRepo: deprecated in v1.11"),
        (
            {},
            {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]},
            f'{C}.env[1]: hides previous definition of "A", which may be dropped when using apply',
        ),
    ],
)
def test_warnings(door, patched, spec, container, warning):
    pod = a_pod(patched, spec, container)
    assert (door.refused(pod), door.warned(pod)) == ([], [warning])


def test_a_usual_pod_has_no_warnings(door, patched):
    assert (
        door.warned(a_pod(patched, None, {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}]})) == []
    )


def test_own_labels_join_selectors(door, patched):
    spread = {
        "maxSkew": 1,
        "topologyKey": "z",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {},
        "matchLabelKeys": ["h"],
    }
    pod = a_pod(patched, {"topologySpreadConstraints": [spread]}, metadata={"labels": {"h": "1"}})
    made = door.created(pod)["spec"]["topologySpreadConstraints"][0]["labelSelector"]
    assert made == {"matchExpressions": [{"key": "h", "operator": "In", "values": ["1"]}]}
    assert door.refused(pod) == []


def test_gated_pods_are_only_narrowed(door, patched):
    old = a_pod(patched, {"schedulingGates": [{"name": "g"}], "nodeSelector": {"a": "1"}})
    assert door.change_refused(old, patched(old, {"spec": {"nodeSelector": {"b": "2"}}})) == []
    (error,) = door.change_refused(old, patched(old, {"spec": {"nodeSelector": {"a": "2"}}}))
    assert error.endswith("only additions to spec.nodeSelector are allowed (no mutations or deletions)")


def test_ended_containers_stay_ended(door, patched):
    ended = {"containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 0}}}]}
    old = patched(a_pod(patched, {"restartPolicy": "OnFailure"}), {"status": ended})
    new = patched(old, {"status": {"containerStatuses": [{"name": "c", "state": {"running": {}}}]}})
    assert door.change_refused(old, new, "status") == [
        "status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"
    ]
    always = [patched(pod, {"spec": {"restartPolicy": "Always"}}) for pod in (old, new)]
    assert door.change_refused(*always, "status") == []


@pytest.mark.parametrize(("strategy", "count"), [("OldestEmulationVersion", 0), ("example.com/mine", 0), ("mine", 1)])
def test_lease_strategies(door, strategy, count):
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": {"strategy": strategy}}
    assert len(door.refused(lease)) == count
