# ruff: noqa: E501 -- tables of messages
"""Rules of the other kinds: what is refused, and by which field."""

import base64
import copy

import pytest

from navarch.services.api.codec import from_json
from navarch.services.api.kinds import KINDS
from navarch.services.api.strategy import strategy_for

TEMPLATE = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}
VALID: dict[str, dict] = {
    "Deployment": {
        "apiVersion": "apps/v1",
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE},
    },
    "ReplicaSet": {
        "apiVersion": "apps/v1",
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": TEMPLATE},
    },
    "Service": {"apiVersion": "v1", "spec": {"ports": [{"port": 80}]}},
    "ConfigMap": {"apiVersion": "v1", "data": {"a": "1"}},
    "Secret": {"apiVersion": "v1", "data": {"a": "MQ=="}},
    "Namespace": {"apiVersion": "v1"},
    "Node": {"apiVersion": "v1", "spec": {}},
    "Lease": {"apiVersion": "coordination.k8s.io/v1", "spec": {"leaseDurationSeconds": 15}},
    "Event": {"apiVersion": "v1", "involvedObject": {"kind": "Pod", "namespace": "default"}},
    "Endpoints": {"apiVersion": "v1", "subsets": [{"addresses": [{"ip": "10.0.0.1"}]}]},
    "EndpointSlice": {
        "apiVersion": "discovery.k8s.io/v1",
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"]}],
    },
    "ServiceAccount": {"apiVersion": "v1"},
    "ClusterRole": {"apiVersion": "rbac.authorization.k8s.io/v1"},
}


def merged(base: dict, changes: dict) -> dict:
    result = copy.deepcopy(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def build(kind: str, **changes):
    namespaced = KINDS.by_gvk(VALID[kind]["apiVersion"], kind).namespaced
    metadata = {"name": "web", **({"namespace": "default"} if namespaced else {})}
    obj = from_json(merged({"kind": kind, "metadata": metadata, **VALID[kind]}, changes))
    strategy_for(KINDS.of(obj)).default(obj)
    return obj


def errors_of(kind: str, **changes) -> list[str]:
    obj = build(kind, **changes)
    strategy = strategy_for(KINDS.of(obj))
    strategy.prepare_for_create(obj)
    return [str(error) for error in strategy.validate(obj)]


def update_errors(kind: str, before: dict, after: dict) -> list[str]:
    old, new = build(kind, **before), build(kind, **after)
    strategy = strategy_for(KINDS.of(old))
    strategy.prepare_for_create(old)
    strategy.prepare_for_update(new, old)
    return [str(error) for error in strategy.validate_update(new, old)]


@pytest.mark.parametrize("kind", VALID)
def test_valid(kind):
    assert errors_of(kind) == []


@pytest.mark.parametrize(
    ("kind", "changes", "error"),
    [
        (
            "Deployment",
            {"spec": {"replicas": -1}},
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        ),
        (
            "Deployment",
            {"spec": {"selector": {"matchLabels": {"app": "api"}}}},
            'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`',
        ),
        (
            "Deployment",
            {"spec": {"selector": {"matchLabels": None}}},
            "spec.selector: Invalid value: {}: empty selector is invalid for deployment",
        ),
        ("Deployment", {"spec": {"selector": None}}, "spec.selector: Required value"),
        (
            "Deployment",
            {"spec": {"template": {"spec": {"restartPolicy": "Never"}}}},
            'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
        ),
        (
            "Deployment",
            {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": {}}}},
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
        ),
        (
            "Deployment",
            {"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}}},
            'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0',
        ),
        (
            "Deployment",
            {"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": "150%"}}}},
            'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "150%": must not be greater than 100%',
        ),
        (
            "Deployment",
            {"spec": {"strategy": {"rollingUpdate": {"maxSurge": "many"}}}},
            'spec.strategy.rollingUpdate.maxSurge: Invalid value: "many": a valid percent string',
        ),
        (
            "Deployment",
            {"spec": {"strategy": {"type": "Blue"}}},
            'spec.strategy.type: Unsupported value: "Blue": supported values: "Recreate", "RollingUpdate"',
        ),
        (
            "Deployment",
            {"spec": {"minReadySeconds": 600}},
            "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds",
        ),
        (
            "Deployment",
            {"spec": {"selector": {"matchExpressions": [{"key": "app", "operator": "Near"}]}}},
            'spec.selector.matchExpressions[0].operator: Invalid value: "Near": not a valid selector operator',
        ),
        (
            "ReplicaSet",
            {"spec": {"template": {"spec": {"activeDeadlineSeconds": 5}}}},
            "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported",
        ),
        ("Service", {"metadata": {"name": "1web"}}, 'metadata.name: Invalid value: "1web": a DNS-1035 label'),
        ("Service", {"spec": {"ports": []}}, "spec.ports: Required value"),
        ("Service", {"spec": {"ports": [{"port": 1}, {"name": "b", "port": 2}]}}, "spec.ports[0].name: Required value"),
        (
            "Service",
            {"spec": {"ports": [{"name": "a", "port": 1}, {"name": "a", "port": 2}]}},
            'spec.ports[1].name: Duplicate value: "a"',
        ),
        (
            "Service",
            {"spec": {"ports": [{"name": "a", "port": 1}, {"name": "b", "port": 1}]}},
            "spec.ports[1]: Duplicate value: ",
        ),
        (
            "Service",
            {"spec": {"ports": [{"port": 0, "targetPort": 1}]}},
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        ),
        (
            "Service",
            {"spec": {"ports": [{"port": 1, "nodePort": 30000}]}},
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
        ),
        (
            "Service",
            {"spec": {"type": "NodePort", "clusterIP": "None"}},
            "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
        ),
        ("Service", {"spec": {"type": "ExternalName"}}, "spec.externalName: Required value"),
        (
            "Service",
            {"spec": {"type": "Magic"}},
            'spec.type: Unsupported value: "Magic": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"',
        ),
        (
            "Service",
            {"spec": {"clusterIP": "10.0.0.300"}},
            'spec.clusterIPs[0]: Invalid value: "10.0.0.300": must be a valid IP address',
        ),
        (
            "Service",
            {"spec": {"clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.2"]}},
            'spec.clusterIPs: Invalid value: ["10.96.0.2"]: first value must match `clusterIP`',
        ),
        (
            "Service",
            {"spec": {"externalIPs": ["127.0.0.1"]}},
            'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range',
        ),
        (
            "Service",
            {"spec": {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}}},
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0",
        ),
        ("ConfigMap", {"data": {"a/b": "1"}}, 'data[a/b]: Invalid value: "a/b": a valid config key'),
        (
            "ConfigMap",
            {"binaryData": {"a": "MQ=="}},
            'data[a]: Invalid value: "a": duplicate of key present in binaryData',
        ),
        ("ConfigMap", {"data": {"a": "x" * (1024 * 1024 + 1)}}, "[]: Too long: may not be more than 1048576 bytes"),
        ("Secret", {"data": {"..": "MQ=="}}, "data[..]: Invalid value: \"..\": must not be '..'"),
        ("Secret", {"type": "kubernetes.io/ssh-auth"}, "data[ssh-privatekey]: Required value"),
        ("Secret", {"type": "kubernetes.io/tls", "data": {"tls.crt": "MQ=="}}, "data[tls.key]: Required value"),
        (
            "Secret",
            {
                "type": "kubernetes.io/dockerconfigjson",
                "data": {".dockerconfigjson": base64.b64encode(b"{top secret").decode()},
            },
            'data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": not JSON',
        ),
        (
            "Secret",
            {"type": "kubernetes.io/service-account-token"},
            "metadata.annotations[kubernetes.io/service-account.name]: Required value",
        ),
        ("Namespace", {"metadata": {"name": "a.b"}}, 'metadata.name: Invalid value: "a.b": a lowercase RFC 1123 label'),
        ("Namespace", {"metadata": {"namespace": "x"}}, "metadata.namespace: Forbidden: not allowed on this type"),
        (
            "Node",
            {"spec": {"taints": [{"key": "a", "effect": "Maybe"}]}},
            'metadata.taints[0].effect: Unsupported value: "Maybe": ',
        ),
        (
            "Node",
            {"spec": {"taints": [{"key": "a", "effect": "NoExecute"}, {"key": "a", "effect": "NoExecute"}]}},
            "metadata.taints[1]: Duplicate value: ",
        ),
        (
            "Node",
            {"status": {"capacity": {"cpu": "-1"}, "allocatable": {"cpu": "1"}}},
            'status.capacity.cpu: Invalid value: "-1": must be greater',
        ),
        (
            "Lease",
            {"spec": {"leaseDurationSeconds": 0}},
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
        ),
        (
            "Event",
            {"involvedObject": {"namespace": "other"}},
            'involvedObject.namespace: Invalid value: "other": does not match event.namespace',
        ),
        (
            "Event",
            {
                "eventTime": "2024-01-01T00:00:00.000000Z",
                "reportingComponent": "a",
                "reportingInstance": "b",
                "action": "c",
            },
            "reason: Required value",
        ),
        (
            "Endpoints",
            {"subsets": [{"addresses": []}]},
            "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`",
        ),
        (
            "Endpoints",
            {"subsets": [{"addresses": [{"ip": "x"}]}]},
            'subsets[0].addresses[0].ip: Invalid value: "x": must be a valid IP address',
        ),
        ("EndpointSlice", {"addressType": ""}, "addressType: Required value"),
        (
            "EndpointSlice",
            {"addressType": "DNS"},
            'addressType: Unsupported value: "DNS": supported values: "FQDN", "IPv4", "IPv6"',
        ),
        (
            "EndpointSlice",
            {"endpoints": [{"addresses": ["::1"]}]},
            'endpoints[0].addresses[0]: Invalid value: "::1": must be an IPv4 address',
        ),
        (
            "EndpointSlice",
            {"endpoints": [{"addresses": []}]},
            "endpoints[0].addresses: Required value: must contain at least 1 address",
        ),
        (
            "EndpointSlice",
            {"endpoints": [{"addresses": ["10.0.0.1"]}] * 1001},
            "endpoints: Too many: 1001: must have at most 1000 items",
        ),
        ("EndpointSlice", {"ports": [{"port": 1}, {"port": 2}]}, 'ports[1].name: Duplicate value: ""'),
        ("ClusterRole", {"metadata": {"name": "a/b"}}, "metadata.name: Invalid value: \"a/b\": may not contain '/'"),
    ],
)
def test_refused(kind, changes, error):
    (found,) = errors_of(kind, **changes)
    assert found.startswith(error)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("Service", {"spec": {"type": "ExternalName", "externalName": "example.com.", "ports": []}}),
        ("Service", {"spec": {"clusterIP": "None", "ports": []}}),
        (
            "Service",
            {
                "spec": {
                    "type": "NodePort",
                    "ports": [
                        {"port": 53, "name": "a", "nodePort": 30053},
                        {"port": 53, "name": "b", "protocol": "UDP", "nodePort": 30053},
                    ],
                }
            },
        ),
        ("Secret", {"type": "example.com/own"}),
        ("Secret", {"type": "kubernetes.io/basic-auth", "stringData": {"username": "u"}}),
        ("Event", {"involvedObject": {"kind": "Node", "namespace": ""}}),
        ("ClusterRole", {"metadata": {"name": "system:node"}}),
        ("Deployment", {"spec": {"strategy": {"rollingUpdate": {"maxSurge": "150%", "maxUnavailable": 0}}}}),
    ],
)
def test_allowed(kind, changes):
    assert errors_of(kind, **changes) == []


@pytest.mark.parametrize(
    ("kind", "before", "after", "error"),
    [
        (
            "Deployment",
            {},
            {"spec": {"selector": {"matchLabels": {"tier": "x"}}, "template": {"metadata": {"labels": {"tier": "x"}}}}},
            'spec.selector: Invalid value: {"matchLabels":{"app":"web","tier":"x"}}: field is immutable',
        ),
        (
            "Service",
            {"spec": {"clusterIP": "10.96.0.5"}},
            {"spec": {"clusterIP": "10.96.0.6"}},
            'spec.clusterIPs[0]: Invalid value: ["10.96.0.6"]: may not change once set',
        ),
        ("Secret", {}, {"type": "example.com/own"}, 'type: Invalid value: "example.com/own": field is immutable'),
        (
            "Secret",
            {"immutable": True},
            {"immutable": True, "data": {"a": "Mg=="}},
            "data: Forbidden: field is immutable when `immutable` is set",
        ),
        ("ConfigMap", {"immutable": True}, {}, "immutable: Forbidden: field is immutable when `immutable` is set"),
        (
            "Node",
            {"spec": {"podCIDRs": ["10.1.0.0/24"]}},
            {"spec": {"podCIDRs": ["10.2.0.0/24"]}},
            "spec.podCIDRs: Forbidden: node updates may not change podCIDR",
        ),
        (
            "EndpointSlice",
            {},
            {"addressType": "FQDN", "endpoints": [{"addresses": ["a.b"]}]},
            'addressType: Invalid value: "FQDN": field is immutable',
        ),
        (
            "Namespace",
            {"metadata": {"uid": "1"}},
            {"metadata": {"uid": "2"}},
            'metadata.uid: Invalid value: "2": field is immutable',
        ),
    ],
)
def test_update_refused(kind, before, after, error):
    (found,) = update_errors(kind, before, after)
    assert found.startswith(error)


def test_a_deleted_object_gets_no_new_finalizers():
    old = build("ConfigMap", metadata={"finalizers": ["a/b"], "deletionTimestamp": "2024-01-01T00:00:00Z"})
    new = build("ConfigMap", metadata={"finalizers": ["a/b", "a/c"]})
    strategy = strategy_for(KINDS.of(old))
    strategy.prepare_for_update(new, old)
    (error,) = strategy.validate_update(new, old)
    assert str(error).startswith("metadata.finalizers: Forbidden: no new finalizers can be added")


def test_namespace_phase_follows_deletion():
    namespace = build("Namespace", status={"phase": "Terminating"})
    (error,) = strategy_for(KINDS.of(namespace)).validate_status_update(namespace, namespace)
    assert error.field == "status.phase"


def test_counts_of_a_status_have_to_add_up():
    replica_set = build("ReplicaSet", status={"replicas": 1, "readyReplicas": 2, "availableReplicas": 3})
    found = strategy_for(KINDS.of(replica_set)).validate_status_update(replica_set, replica_set)
    assert [error.field for error in found] == [
        "status.readyReplicas",
        "status.availableReplicas",
        "status.availableReplicas",
    ]
