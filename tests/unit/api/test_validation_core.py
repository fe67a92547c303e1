# ruff: noqa: E501 -- tables of messages
"""Rules of Nodes, Services and ServiceAccounts that only show in changes, and what they warn of."""

import pytest

SERVICE = {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80}]}}
NODE = {"apiVersion": "v1", "kind": "Node", "spec": {}}
HEADLESS = {"clusterIP": "None", "clusterIPs": ["None"]}
ONE = {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"]}
TWO = {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"], "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "PreferDualStack"}  # fmt: skip
ONLY_BALANCED = "may only be used when `type` is 'LoadBalancer'"


def service(**spec) -> dict:
    return {**SERVICE, "spec": {**SERVICE["spec"], **spec}}


def balanced(**spec) -> dict:
    return service(type="LoadBalancer", **spec)


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (balanced(loadBalancerClass="example.com/a", loadBalancerSourceRanges=["10.0.0.0/8"]), []),
        (service(loadBalancerClass="a"), [f"spec.loadBalancerClass: Forbidden: {ONLY_BALANCED}"]),
        (service(loadBalancerSourceRanges=["10.0.0.0/8"]), [f"spec.LoadBalancerSourceRanges: Forbidden: {ONLY_BALANCED}"]),
        (service(allocateLoadBalancerNodePorts=True), [f"spec.allocateLoadBalancerNodePorts: Forbidden: {ONLY_BALANCED}"]),
        (balanced(ports=[{"port": 10250}]), ["spec.ports[0]: Invalid value: 10250: may not expose port 10250 externally since it is used by kubelet"]),
        (balanced(loadBalancerSourceRanges=["x"]), ['spec.LoadBalancerSourceRanges[0]: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)']),
        (service(trafficDistribution="PreferSameZone"), []),
        (service(trafficDistribution="Far"), ['spec.trafficDistribution: Unsupported value: "Far": supported values: "PreferClose", "PreferSameNode", "PreferSameZone"']),
        (service(clusterIP="10.0.0.1", clusterIPs=["10.0.0.1", "10.0.0.2"]), ['spec.clusterIPs: Invalid value: ["10.0.0.1","10.0.0.2"]: may specify no more than one IP for each IP family']),
        (service(type="ExternalName", externalName="a.b", clusterIP="10.0.0.1"), ["spec.clusterIPs: Forbidden: may not be set for ExternalName services"]),
    ],
)  # fmt: skip
def test_services(door, manifest, expected):
    assert door.refused(manifest) == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (service(**ONE), service(**ONE), []),
        (service(**ONE), service(**TWO), []),
        (service(**HEADLESS), service(**HEADLESS, sessionAffinity="ClientIP"), []),
        (service(**ONE), service(**ONE | {"clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.2"]}), ['spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set']),
        (service(**TWO), service(**ONE, ipFamilyPolicy="SingleStack"), []),
        (service(**TWO), service(**ONE, ipFamilyPolicy="PreferDualStack"), [
            "spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": must be set to 'SingleStack' when releasing the secondary clusterIP",
            "spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": must be set to 'SingleStack' when releasing the secondary ipFamily",
        ]),
        (service(**TWO), service(**TWO | {"clusterIPs": ["10.0.0.1", "fd00::2"]}), ['spec.clusterIPs[1]: Invalid value: ["10.0.0.1","fd00::2"]: may not change once set']),
        (balanced(**ONE, loadBalancerClass="a"), balanced(**ONE, loadBalancerClass="b"), ['spec.loadBalancerClass: Invalid value: "b": may not change once set']),
        (balanced(**ONE, loadBalancerClass="a"), balanced(**ONE), ["spec.loadBalancerClass: Invalid value: null: may not change once set"]),
        (balanced(**ONE, externalTrafficPolicy="Local", healthCheckNodePort=31000), balanced(**ONE, externalTrafficPolicy="Local", healthCheckNodePort=31001), ["spec.healthCheckNodePort: Forbidden: field is immutable"]),
    ],
)  # fmt: skip
def test_changed_services(door, old, new, expected):
    assert door.change_refused(old, new) == expected


@pytest.mark.parametrize(
    ("old", "ingress", "expected"),
    [
        (balanced(), {"ip": "192.0.2.1"}, []),
        (balanced(), {"hostname": "a.example.com"}, []),
        (balanced(), {"hostname": "192.0.2.1"}, ['status.loadBalancer.ingress[0].hostname: Invalid value: "192.0.2.1": must be a DNS name, not an IP address']),
        (balanced(), {"hostname": "a", "ipMode": "VIP"}, ["status.loadBalancer.ingress[0].ipMode: Forbidden: may not be specified when `ip` is not set"]),
        (balanced(), {"ip": "192.0.2.1", "ipMode": "Magic"}, ['status.loadBalancer.ingress[0].ipMode: Unsupported value: "Magic": supported values: "Proxy", "VIP"']),
        (service(), {"ip": "192.0.2.1"}, ["status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"]),
    ],
)  # fmt: skip
def test_status_of_services(door, old, ingress, expected):
    assert door.change_refused(old, {**old, "status": {"loadBalancer": {"ingress": [ingress]}}}, "status") == expected


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (service(), []),
        (service(**HEADLESS), []),
        (service(**HEADLESS, sessionAffinity="ClientIP"), ["spec.SessionAffinity is ignored for headless services"]),
        (service(type="ExternalName", externalName="a", externalIPs=["192.0.2.1"]), ['spec.externalIPs is ignored when spec.type is "ExternalName"']),
    ],
)  # fmt: skip
def test_warnings_of_services(door, manifest, expected):
    assert door.warned(manifest) == expected


FAMILIES = "may specify no more than one CIDR for each IP family"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({}, {"podCIDRs": ["10.0.0.0/24", "fd00::/64"], "providerID": "p", "unschedulable": True}, []),
        ({}, {"podCIDRs": ["10.0.0.0/24", "10.0.1.0/24"]}, [f'spec.podCIDRs: Invalid value: ["10.0.0.0/24","10.0.1.0/24"]: {FAMILIES}']),
        ({"podCIDRs": ["10.0.0.0/24"]}, {"podCIDRs": ["10.0.1.0/24"]}, ['spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid']),
        ({"providerID": "p"}, {"providerID": "q"}, ['spec.providerID: Forbidden: node updates may not change providerID except from "" to valid']),
        ({}, {"externalID": "x"}, ["spec.externalID: Forbidden: may not be updated"]),
    ],
)  # fmt: skip
def test_changed_nodes(door, old, new, expected):
    assert door.change_refused({**NODE, "spec": old}, {**NODE, "spec": new}) == expected


ACCOUNT = {
    "apiVersion": "v1",
    "kind": "ServiceAccount",
    "secrets": [{"name": "s", "namespace": "elsewhere", "uid": "1"}],
}


def test_accounts_name_secrets_and_nothing_more(door):
    assert door.created(ACCOUNT)["secrets"] == [{"name": "s"}]
    assert door.changed(ACCOUNT, ACCOUNT)["secrets"] == [{"name": "s"}]


def test_warnings_of_accounts(door, patched):
    assert door.warned(ACCOUNT) == []
    name = "kubernetes.io/enforce-mountable-secrets"
    (warning,) = door.warned(patched(ACCOUNT, {"metadata": {"annotations": {name: "true"}}}))
    assert warning.startswith(f"metadata.annotations[{name}]: deprecated in v1.32+")
