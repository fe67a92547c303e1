"""Defaults of everything that is not a Pod."""

import pytest

from navarch.services.api.codec import from_json, to_json
from navarch.services.api.kinds import KINDS
from navarch.services.api.strategy import strategy_for


def defaulted(api_version: str, kind: str, **fields) -> dict:
    obj = from_json({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}, **fields})
    strategy_for(KINDS.of(obj)).default(obj)
    return to_json(obj)


def service(**spec) -> dict:
    return defaulted("v1", "Service", spec=spec)["spec"]


def test_deployment():
    spec = defaulted("apps/v1", "Deployment", spec={"template": {"spec": {"containers": []}}})["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}
    assert (spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (10, 600)
    assert spec["template"]["spec"]["restartPolicy"] == "Always"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"type": "Recreate"}, {"type": "Recreate"}),
        (
            {"rollingUpdate": {"maxSurge": 0}},
            {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": 0}},
        ),
    ],
)
def test_deployment_strategy(said, expected):
    assert defaulted("apps/v1", "Deployment", spec={"strategy": said})["spec"]["strategy"] == expected


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet", "StatefulSet"])
def test_no_replicas_is_not_one_replica(kind):
    assert defaulted("apps/v1", kind, spec={"replicas": 0})["spec"]["replicas"] == 0


def test_daemon_set_and_stateful_set():
    daemon_set = defaulted("apps/v1", "DaemonSet", spec={})["spec"]
    assert daemon_set["updateStrategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0},
    }
    stateful_set = defaulted("apps/v1", "StatefulSet", spec={})["spec"]
    assert stateful_set["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    assert stateful_set["podManagementPolicy"] == "OrderedReady"


def test_service():
    assert service(ports=[{"port": 80}]) == {
        "ports": [{"protocol": "TCP", "port": 80, "targetPort": 80}],
        "type": "ClusterIP",
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
    }


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param({"type": "NodePort"}, {"externalTrafficPolicy": "Cluster"}, id="node port"),
        pytest.param({"type": "LoadBalancer"}, {"allocateLoadBalancerNodePorts": True}, id="load balancer"),
        pytest.param({"externalIPs": ["1.2.3.4"]}, {"externalTrafficPolicy": "Cluster"}, id="external addresses"),
        pytest.param(
            {"sessionAffinity": "ClientIP"},
            {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}}},
            id="affinity",
        ),
        pytest.param(
            {"ports": [{"port": 1, "targetPort": "web", "protocol": "UDP"}]},
            {"ports": [{"port": 1, "targetPort": "web", "protocol": "UDP"}]},
            id="named port",
        ),
    ],
)
def test_service_by_type(said, expected):
    spec = service(**said)
    assert {key: spec[key] for key in expected} == expected


def test_external_name_has_no_traffic_policy():
    assert "internalTrafficPolicy" not in service(type="ExternalName", externalName="example.com")


def test_namespace_is_labelled_with_its_name():
    namespace = defaulted("v1", "Namespace")
    assert namespace["metadata"]["labels"] == {"kubernetes.io/metadata.name": "x"}


def test_secret_text_becomes_data():
    secret = defaulted("v1", "Secret", data={"a": "MQ==", "b": "Mg=="}, stringData={"b": "3"})
    assert (secret["data"], secret["type"], "stringData" in secret) == ({"a": "MQ==", "b": "Mw=="}, "Opaque", False)


def test_node_allocates_what_it_has():
    assert defaulted("v1", "Node", status={"capacity": {"cpu": "2000m"}})["status"]["allocatable"] == {"cpu": "2"}


def test_endpoint_ports():
    subset = {"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}
    assert defaulted("v1", "Endpoints", subsets=[subset])["subsets"][0]["ports"] == [{"port": 80, "protocol": "TCP"}]
    endpoint_slice = defaulted(
        "discovery.k8s.io/v1", "EndpointSlice", addressType="IPv4", endpoints=[], ports=[{"port": 80}]
    )
    assert endpoint_slice["ports"] == [{"name": "", "port": 80, "protocol": "TCP"}]
