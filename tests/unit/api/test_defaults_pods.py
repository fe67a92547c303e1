"""What a Pod gets when its manifest says little."""

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.codec import from_json, to_json
from navarch.services.api.defaults.images import pull_policy
from navarch.services.api.defaults.pods import default_pod, default_pod_spec


def defaulted(spec: dict) -> dict:
    pod = from_json({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec})
    default_pod(pod)
    return to_json(pod)["spec"]


def container(**fields) -> dict:
    return defaulted({"containers": [{"name": "c", "image": "busybox", **fields}]})["containers"][0]


def volume(**source) -> dict:
    return defaulted({"containers": [], "volumes": [{"name": "v", **source}]})["volumes"][0]


def test_pod():
    assert defaulted({"containers": [{"name": "c", "image": "nginx:1.27"}]}) == {
        "containers": [
            {
                "name": "c",
                "image": "nginx:1.27",
                "resources": {},
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "imagePullPolicy": "IfNotPresent",
            }
        ],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
        "enableServiceLinks": True,
    }


def test_what_is_said_stays():
    said = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "dnsPolicy": "Default",
        "enableServiceLinks": False,
    }
    spec = defaulted({"containers": [], **said})
    assert {key: spec[key] for key in said} == said


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.27", "IfNotPresent"),
        ("registry:5000/nginx", "Always"),
        ("registry:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:" + "0" * 64, "IfNotPresent"),
        ("nginx:latest@sha256:" + "0" * 64, "Always"),
        ("", "IfNotPresent"),
    ],
)
def test_pull_policy(image, policy):
    assert pull_policy(image) == policy


@pytest.mark.parametrize(
    ("said", "field", "expected"),
    [
        pytest.param(
            {"ports": [{"containerPort": 80}]}, "ports", [{"containerPort": 80, "protocol": "TCP"}], id="port"
        ),
        pytest.param(
            {"readinessProbe": {"httpGet": {"port": 80}}},
            "readinessProbe",
            {
                "httpGet": {"path": "/", "port": 80, "scheme": "HTTP"},
                "timeoutSeconds": 1,
                "periodSeconds": 10,
                "successThreshold": 1,
                "failureThreshold": 3,
            },
            id="probe",
        ),
        pytest.param(
            {"livenessProbe": {"grpc": {"port": 80}, "periodSeconds": 2}},
            "livenessProbe",
            {
                "grpc": {"port": 80, "service": ""},
                "timeoutSeconds": 1,
                "periodSeconds": 2,
                "successThreshold": 1,
                "failureThreshold": 3,
            },
            id="grpc probe",
        ),
        pytest.param(
            {"lifecycle": {"preStop": {"httpGet": {"port": "web"}}}},
            "lifecycle",
            {"preStop": {"httpGet": {"path": "/", "port": "web", "scheme": "HTTP"}}},
            id="hook",
        ),
        pytest.param(
            {"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
            "env",
            [{"name": "A", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}}],
            id="downward env",
        ),
        pytest.param(
            {"resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}, "requests": {"cpu": "0.1"}}},
            "resources",
            {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "1Gi"}},
            id="requests follow limits, canonical",
        ),
        pytest.param(
            {"resources": {"requests": {"cpu": "100u"}}},
            "resources",
            {"requests": {"cpu": "1m"}},
            id="rounded up to milli",
        ),
    ],
)
def test_container(said, field, expected):
    assert container(**said)[field] == expected


def test_a_malformed_quantity_is_left_for_validation():
    pod = corev1.Pod()
    pod.spec.containers.add().resources.requests["cpu"].string = "lots"
    default_pod(pod)
    assert pod.spec.containers[0].resources.requests["cpu"].string == "lots"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param({}, {"emptyDir": {}}, id="nothing means empty directory"),
        pytest.param({"configMap": {"name": "c"}}, {"configMap": {"name": "c", "defaultMode": 420}}, id="configMap"),
        pytest.param(
            {"secret": {"secretName": "s", "defaultMode": 256}},
            {"secret": {"secretName": "s", "defaultMode": 256}},
            id="secret",
        ),
        pytest.param({"hostPath": {"path": "/x"}}, {"hostPath": {"path": "/x", "type": ""}}, id="hostPath"),
        pytest.param(
            {"downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            {
                "downwardAPI": {
                    "items": [{"path": "p", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}],
                    "defaultMode": 420,
                }
            },
            id="downwardAPI",
        ),
        pytest.param(
            {"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
            {
                "projected": {
                    "sources": [{"serviceAccountToken": {"expirationSeconds": 3600, "path": "t"}}],
                    "defaultMode": 420,
                }
            },
            id="projected",
        ),
    ],
)
def test_volume(said, expected):
    assert volume(**said) == {"name": "v", **expected}


def test_host_network_takes_the_same_ports_of_the_host():
    spec = defaulted({"hostNetwork": True, "containers": [{"name": "c", "ports": [{"containerPort": 80}]}]})
    assert spec["containers"][0]["ports"] == [{"hostPort": 80, "containerPort": 80, "protocol": "TCP"}]


def test_a_template_is_not_completed_beyond_what_its_pods_share():
    spec = from_json({"containers": [{"name": "c", "resources": {"limits": {"cpu": "1"}}}]}, corev1.PodSpec)
    default_pod_spec(spec)
    assert not spec.HasField("enable_service_links")
    assert not spec.containers[0].resources.requests


def test_both_names_of_the_service_account_agree():
    spec = defaulted({"containers": [], "serviceAccount": "robot"})
    assert (spec["serviceAccountName"], spec["serviceAccount"]) == ("robot", "robot")


def test_resources_of_the_whole_pod():
    spec = defaulted(
        {
            "resources": {"limits": {"cpu": "4", "memory": "1Gi"}},
            "containers": [
                {"name": "a", "resources": {"requests": {"cpu": "1"}, "limits": {"hugepages-2Mi": "2Mi"}}},
                {"name": "b", "resources": {"requests": {"cpu": "500m"}}},
            ],
        }
    )
    assert spec["resources"] == {
        "limits": {"cpu": "4", "memory": "1Gi", "hugepages-2Mi": "2Mi"},
        "requests": {"cpu": "1500m", "memory": "1Gi", "hugepages-2Mi": "2Mi"},
    }
