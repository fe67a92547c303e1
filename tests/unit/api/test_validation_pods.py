# ruff: noqa: E501 -- tables of messages
"""Pods: what is refused on create, by field, and what may change later."""

import copy

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.codec import from_json
from navarch.services.api.kinds import KINDS
from navarch.services.api.strategy import strategy_for

STRATEGY = strategy_for(KINDS.find("pods"))


class PodBuilder:
    """Builds a valid Pod, step by step away from valid."""

    def __init__(self) -> None:
        self.spec: dict = {"containers": [{"name": "c", "image": "busybox:1"}]}
        self.metadata: dict = {"name": "web", "namespace": "default"}

    def meta(self, **fields) -> "PodBuilder":
        self.metadata |= fields
        return self

    def with_spec(self, **fields) -> "PodBuilder":
        self.spec |= fields
        return self

    def with_container(self, **fields) -> "PodBuilder":
        self.spec["containers"][0] |= fields
        return self

    def build(self) -> corev1.Pod:
        pod = from_json(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": copy.deepcopy(self.metadata),
                "spec": copy.deepcopy(self.spec),
            }
        )
        STRATEGY.default(pod)
        return pod

    def errors(self) -> list[str]:
        return [str(error) for error in STRATEGY.validate(self.build())]


def _named(container):
    copied = corev1.Container()
    copied.CopyFrom(container)
    copied.name = "another"
    return copied


def a_pod() -> PodBuilder:
    return PodBuilder()


def test_valid():
    pod = a_pod().with_spec(
        volumes=[{"name": "v"}],
        initContainers=[{"name": "init", "image": "x"}, {"name": "side", "image": "x", "restartPolicy": "Always"}],
        tolerations=[{"operator": "Exists"}, {"key": "a", "effect": "NoExecute", "tolerationSeconds": 5}],
        nodeSelector={"kubernetes.io/os": "linux"},
    )
    pod.with_container(
        ports=[{"name": "http", "containerPort": 80}],
        env=[
            {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['x']"}}},
            {"name": "A", "value": "again"},
        ],
        volumeMounts=[{"name": "v", "mountPath": "/v", "subPath": "a/b"}],
        resources={"requests": {"cpu": "100m", "example.com/gpu": "1"}, "limits": {"cpu": "1", "example.com/gpu": "1"}},
        readinessProbe={"tcpSocket": {"port": "http"}},
    )
    assert pod.errors() == []


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        pytest.param({"name": ""}, "metadata.name: Required value: name or generateName is required", id="no name"),
        pytest.param({"name": "A"}, 'metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain', id="name"),
        pytest.param({"namespace": ""}, "metadata.namespace: Required value", id="no namespace"),
        pytest.param(
            {"labels": {"a": "b c"}},
            'metadata.labels[a]: Invalid value: "b c": a valid label must be',
            id="label value",
        ),
        pytest.param(
            {"labels": {"a/b/c": ""}}, 'metadata.labels: Invalid value: "a/b/c": a qualified name', id="label key"
        ),
        pytest.param(
            {"annotations": {"a": "x" * 262144}},
            "metadata.annotations: Too long: may not be more than 262144 bytes",
            id="annotations",
        ),
        pytest.param(
            {"finalizers": ["mine"]}, 'metadata.finalizers[0]: Invalid value: "mine": name is neither', id="finalizer"
        ),
        pytest.param(
            {"finalizers": ["orphan", "foregroundDeletion"]},
            "metadata.finalizers: Invalid value: ",
            id="both ways to delete",
        ),
        pytest.param(
            {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": ""}]},
            'metadata.ownerReferences.uid: Invalid value: "": must not be empty',
            id="owner",
        ),
        pytest.param(
            {
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "A", "name": name, "uid": name, "controller": True} for name in "xy"
                ]
            },
            "metadata.ownerReferences: Invalid value: ",
            id="two controllers",
        ),
    ],
)
def test_metadata(fields, error):
    (found,) = a_pod().meta(**fields).errors()
    assert found.startswith(error)


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        pytest.param({"containers": []}, "spec.containers: Required value", id="no containers"),
        pytest.param(
            {"restartPolicy": "Sometimes"},
            'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"',
            id="restart policy",
        ),
        pytest.param(
            {"activeDeadlineSeconds": 0},
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
            id="deadline",
        ),
        pytest.param({"hostname": "A"}, 'spec.hostname: Invalid value: "A": ', id="hostname"),
        pytest.param(
            {"nodeSelector": {"a": "b c"}}, 'spec.nodeSelector[a]: Invalid value: "b c": ', id="node selector"
        ),
        pytest.param(
            {"dnsPolicy": "None"},
            "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
            id="dns",
        ),
        pytest.param(
            {"volumes": [{"name": "v"}, {"name": "v"}]}, 'spec.volumes[1].name: Duplicate value: "v"', id="volume twice"
        ),
        pytest.param(
            {"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]},
            "spec.volumes[0].emptyDir: Forbidden: may not specify more than 1 volume type",
            id="two sources",
        ),
        pytest.param(
            {"volumes": [{"name": "v", "hostPath": {"path": "/a/../b"}}]},
            """spec.volumes[0].hostPath.path: Invalid value: "/a/../b": must not contain '..'""",
            id="host path",
        ),
        pytest.param(
            {"volumes": [{"name": "v", "hostPath": {"path": "/a", "type": "Door"}}]},
            'spec.volumes[0].hostPath.type: Unsupported value: "Door": ',
            id="host path type",
        ),
        pytest.param(
            {"volumes": [{"name": "v", "secret": {}}]}, "spec.volumes[0].secret.secretName: Required value", id="secret"
        ),
        pytest.param(
            {"volumes": [{"name": "v", "configMap": {"name": "c", "defaultMode": 512}}]},
            "spec.volumes[0].configMap.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal)",
            id="mode",
        ),
        pytest.param(
            {"volumes": [{"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "/x"}]}}]},
            'spec.volumes[0].configMap.items[0].path: Invalid value: "/x": must be a relative path',
            id="path",
        ),
        pytest.param(
            {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]},
            "spec.tolerations[0].operator: Invalid value: ",
            id="toleration value",
        ),
        pytest.param(
            {"tolerations": [{"value": "b"}]}, "spec.tolerations[0].operator: Invalid value: ", id="toleration key"
        ),
        pytest.param(
            {"tolerations": [{"key": "a", "tolerationSeconds": 1}]},
            "spec.tolerations[0].effect: Invalid value: ",
            id="toleration seconds",
        ),
        pytest.param(
            {
                "affinity": {
                    "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}
                }
            },
            "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term",
            id="node affinity",
        ),
        pytest.param(
            {
                "affinity": {
                    "podAntiAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": [{"labelSelector": {}, "topologyKey": "a b"}]
                    }
                }
            },
            'spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].topologyKey: Invalid value: "a b": name part must',
            id="anti-affinity",
        ),
        pytest.param(
            {"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]},
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
            id="spread",
        ),
        pytest.param(
            {"schedulingGates": [{"name": "g"}, {"name": "g"}]},
            'spec.schedulingGates[1]: Duplicate value: "g"',
            id="gates",
        ),
        pytest.param(
            {"securityContext": {"runAsUser": -1}},
            "spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive",
            id="user",
        ),
        pytest.param(
            {"hostAliases": [{"ip": "x", "hostnames": ["a"]}]},
            'spec.hostAliases[0].ip: Invalid value: "x": must be a valid IP address',
            id="host alias",
        ),
        pytest.param(
            {"initContainers": [{"name": "c", "image": "x"}]},
            'spec.initContainers[0].name: Duplicate value: "c"',
            id="names across",
        ),
        pytest.param(
            {"initContainers": [{"name": "i", "image": "x", "livenessProbe": {"exec": {"command": ["a"]}}}]},
            "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
            id="init probe",
        ),
        pytest.param(
            {"ephemeralContainers": [{"name": "e", "image": "x"}]},
            "spec.ephemeralContainers: Forbidden: cannot be set on create",
            id="ephemeral",
        ),
    ],
)
def test_spec(fields, error):
    (found,) = a_pod().with_spec(**fields).errors()
    assert found.startswith(error)


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        pytest.param({"name": ""}, ["name: Required value"], id="no name"),
        pytest.param({"image": ""}, ["image: Required value"], id="no image"),
        pytest.param(
            {"image": " x:1"},
            ['image: Invalid value: " x:1": must not have leading or trailing whitespace'],
            id="image",
        ),
        pytest.param(
            {"imagePullPolicy": "Often"},
            ['imagePullPolicy: Unsupported value: "Often": supported values: "Always", "IfNotPresent", "Never"'],
            id="pull policy",
        ),
        pytest.param({"ports": [{"containerPort": 0}]}, ["ports[0].containerPort: Required value"], id="no port"),
        pytest.param(
            {"ports": [{"containerPort": 70000}]},
            ["ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"],
            id="port",
        ),
        pytest.param(
            {"ports": [{"containerPort": 1, "protocol": "ICMP"}]},
            ['ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"'],
            id="protocol",
        ),
        pytest.param(
            {"ports": [{"name": "a", "containerPort": 1}, {"name": "a", "containerPort": 2}]},
            ['ports[1].name: Duplicate value: "a"'],
            id="port name twice",
        ),
        pytest.param(
            {"ports": [{"containerPort": 1, "hostPort": 9}, {"containerPort": 2, "hostPort": 9}]},
            ['ports[1].hostPort: Duplicate value: "TCP//9"'],
            id="host port twice",
        ),
        pytest.param(
            {"env": [{"name": "A=B"}]},
            ['env[0].name: Invalid value: "A=B": a valid environment variable name'],
            id="env name",
        ),
        pytest.param(
            {"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
            ['env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty'],
            id="env twice",
        ),
        pytest.param(
            {"env": [{"name": "A", "valueFrom": {}}]},
            ['env[0].valueFrom: Invalid value: "": must specify one of: '],
            id="env from nothing",
        ),
        pytest.param(
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.foo"}}}]},
            ['env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "spec.foo": supported values: "metadata.name"'],
            id="env field",
        ),
        pytest.param(
            {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c"}}}]},
            ["env[0].valueFrom.configMapKeyRef.key: Required value"],
            id="env key",
        ),
        pytest.param(
            {"envFrom": [{}]},
            ['envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`'],
            id="envFrom",
        ),
        pytest.param(
            {"volumeMounts": [{"name": "v", "mountPath": "/x"}]},
            ['volumeMounts[0].name: Not found: "v"'],
            id="no such volume",
        ),
        pytest.param(
            {"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}},
            ['resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'],
            id="request over limit",
        ),
        pytest.param(
            {"resources": {"requests": {"cpu": "-1"}}},
            ['resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0'],
            id="negative",
        ),
        pytest.param(
            {"resources": {"requests": {"apples": "1"}}},
            [
                'resources.requests[apples]: Invalid value: "apples": must be a standard resource type or fully qualified',
                'resources.requests[apples]: Invalid value: "apples": must be a standard resource for containers',
            ],
            id="unknown resource",
        ),
        pytest.param(
            {"resources": {"limits": {"example.com/gpu": "0.5"}}},
            [
                'resources.limits[example.com/gpu]: Invalid value: "500m": must be an integer',
                'resources.requests[example.com/gpu]: Invalid value: "500m": must be an integer',
            ],
            id="half a device",
        ),
        pytest.param(
            {"resources": {"limits": {"hugepages-2Mi": "2Mi"}}},
            ["resources: Forbidden: HugePages require cpu or memory"],
            id="huge pages alone",
        ),
        pytest.param(
            {"livenessProbe": {}}, ["livenessProbe: Required value: must specify a handler type"], id="probe of nothing"
        ),
        pytest.param(
            {"livenessProbe": {"exec": {"command": ["a"]}, "tcpSocket": {"port": 1}}},
            ["livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"],
            id="two handlers",
        ),
        pytest.param(
            {"livenessProbe": {"exec": {"command": ["a"]}, "successThreshold": 2}},
            ["livenessProbe.successThreshold: Invalid value: 2: must be 1"],
            id="success threshold",
        ),
        pytest.param(
            {"readinessProbe": {"httpGet": {"port": 0}}},
            ["readinessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive"],
            id="probe port",
        ),
        pytest.param(
            {"lifecycle": {"preStop": {"exec": {}}}}, ["lifecycle.preStop.exec.command: Required value"], id="hook"
        ),
        pytest.param(
            {"securityContext": {"privileged": True, "allowPrivilegeEscalation": False}},
            ["securityContext: Invalid value: "],
            id="privileged",
        ),
        pytest.param({"restartPolicy": "Maybe"}, ['restartPolicy: Unsupported value: "Maybe": '], id="restart policy"),
    ],
)
def test_container(fields, errors):
    found = a_pod().with_container(**fields).errors()
    assert len(found) == len(errors)
    for text, start in zip(found, errors, strict=True):
        assert text.startswith(f"spec.containers[0].{start}")


def test_a_mount_point_is_used_once():
    mounts = [{"name": "v", "mountPath": "/x"}, {"name": "v", "mountPath": "/x"}]
    pod = a_pod().with_spec(volumes=[{"name": "v"}]).with_container(volumeMounts=mounts)
    assert pod.errors() == ['spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/x": must be unique']


def test_a_malformed_quantity_from_a_typed_client():
    pod = a_pod().build()
    pod.spec.containers[0].resources.limits["cpu"].string = "lots"
    (error,) = STRATEGY.validate(pod)
    assert str(error).startswith(
        'spec.containers[0].resources.limits[cpu]: Invalid value: "lots": quantities must match'
    )


def test_all_that_is_wrong_is_said_at_once():
    assert len(a_pod().meta(name="A").with_spec(hostname="A", restartPolicy="x").errors()) == 3


def update(change, **spec) -> list[str]:
    old = a_pod().with_spec(**spec).build()
    new = corev1.Pod()
    new.CopyFrom(old)
    change(new)
    STRATEGY.prepare_for_update(new, old)
    return [str(error) for error in STRATEGY.validate_update(new, old)]


def set_image(pod: corev1.Pod) -> None:
    pod.spec.containers[0].image = "busybox:2"


@pytest.mark.parametrize(
    ("change", "spec"),
    [
        pytest.param(set_image, {}, id="image"),
        pytest.param(lambda pod: pod.metadata.labels.update(a="b"), {}, id="labels"),
        pytest.param(lambda pod: pod.spec.tolerations.add(operator="Exists"), {}, id="more tolerations"),
        pytest.param(
            lambda pod: setattr(pod.spec, "active_deadline_seconds", 5),
            {"activeDeadlineSeconds": 9},
            id="shorter deadline",
        ),
        pytest.param(
            lambda pod: pod.spec.ClearField("scheduling_gates"), {"schedulingGates": [{"name": "g"}]}, id="gates lifted"
        ),
        pytest.param(
            lambda pod: pod.spec.node_selector.update(a="b"),
            {"schedulingGates": [{"name": "g"}]},
            id="narrowed while gated",
        ),
        pytest.param(lambda pod: setattr(pod.spec, "host_network", False), {}, id="zero values said or not"),
    ],
)
def test_update_allowed(change, spec):
    assert update(change, **spec) == []


@pytest.mark.parametrize(
    ("change", "spec", "field"),
    [
        pytest.param(lambda pod: pod.spec.containers[0].command.append("x"), {}, "spec", id="command"),
        pytest.param(lambda pod: setattr(pod.spec, "node_name", "n"), {}, "spec", id="node"),
        pytest.param(
            lambda pod: pod.spec.containers.add().CopyFrom(_named(pod.spec.containers[0])),
            {},
            "spec.containers",
            id="one more container",
        ),
        pytest.param(
            lambda pod: pod.spec.ClearField("tolerations"),
            {"tolerations": [{"operator": "Exists"}]},
            "spec.tolerations",
            id="fewer tolerations",
        ),
        pytest.param(
            lambda pod: setattr(pod.spec, "active_deadline_seconds", 10),
            {"activeDeadlineSeconds": 9},
            "spec.activeDeadlineSeconds",
            id="longer deadline",
        ),
        pytest.param(
            lambda pod: pod.spec.scheduling_gates.add(name="g"), {}, "spec.schedulingGates[0].name", id="one more gate"
        ),
        pytest.param(lambda pod: setattr(pod.metadata, "uid", "other"), {}, "metadata.uid", id="uid"),
        pytest.param(lambda pod: setattr(pod.metadata, "name", "other"), {}, "metadata.name", id="name"),
    ],
)
def test_update_refused(change, spec, field):
    (error,) = update(change, **spec)
    assert error.startswith(f"{field}: ")
