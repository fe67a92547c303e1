# ruff: noqa: E501 -- tables of messages
"""Ingresses, their classes, NetworkPolicies and the addresses of Services: defaults, rules, what may change."""

import pytest

API = "networking.k8s.io/v1"
BACKEND = {"service": {"name": "web", "port": {"number": 80}}}
INGRESS = {"apiVersion": API, "kind": "Ingress", "spec": {"defaultBackend": BACKEND}}
CLASS = {"apiVersion": API, "kind": "IngressClass", "spec": {"controller": "example.com/proxy"}}
POLICY = {"apiVersion": API, "kind": "NetworkPolicy", "spec": {"podSelector": {}}}
ADDRESS = {
    "apiVersion": API,
    "kind": "IPAddress",
    "metadata": {"name": "10.0.0.1"},
    "spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "web"}},
}
CIDR = {"apiVersion": API, "kind": "ServiceCIDR", "spec": {"cidrs": ["10.0.0.0/16"]}}


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({}, ["Ingress"]),
        ({"ingress": [{}]}, ["Ingress"]),
        ({"egress": [{}]}, ["Ingress", "Egress"]),
        ({"egress": [{}], "policyTypes": ["Egress"]}, ["Egress"]),
    ],
)
def test_defaults_of_network_policies(door, patched, rules, expected):
    assert door.defaulted(patched(POLICY, {"spec": rules}))["spec"]["policyTypes"] == expected


def test_more_defaults(door, patched):
    policy = patched(
        POLICY, {"spec": {"ingress": [{"ports": [{"port": 1}]}], "egress": [{"ports": [{"protocol": "UDP"}]}]}}
    )
    spec = door.defaulted(policy)["spec"]
    assert (spec["ingress"][0]["ports"][0]["protocol"], spec["egress"][0]["ports"][0]["protocol"]) == ("TCP", "UDP")
    assert "parameters" not in door.defaulted(CLASS)["spec"]
    named = patched(CLASS, {"spec": {"parameters": {"kind": "Config", "name": "c"}}})
    assert door.defaulted(named)["spec"]["parameters"]["scope"] == "Cluster"


@pytest.mark.parametrize("manifest", [INGRESS, CLASS, POLICY, ADDRESS, CIDR], ids=lambda manifest: manifest["kind"])
def test_valid(door, manifest):
    assert door.refused(manifest) == []
    assert door.change_refused(manifest, manifest) == []


def rule(**path) -> dict:
    return {"rules": [{"http": {"paths": [{"pathType": "Prefix", "path": "/", "backend": BACKEND, **path}]}}]}


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        ({"defaultBackend": None}, ["spec: Invalid value: []: either `defaultBackend` or `rules` must be specified"]),
        ({"rules": [{"host": "*.example.com"}]}, []),
        (
            {"rules": [{"host": "10.0.0.1"}]},
            ['spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address'],
        ),
        (
            {"rules": [{"host": "*"}]},
            [
                "spec.rules[0].host: Invalid value: \"*\": a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
            ],
        ),
        ({"rules": [{"http": {"paths": []}}]}, ["spec.rules[0].http.paths: Required value"]),
        (rule(), []),
        (rule(pathType="ImplementationSpecific", path=""), []),
        (rule(pathType=None), ["spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified"]),
        (
            rule(pathType="Regex"),
            [
                'spec.rules[0].http.paths[0].pathType: Unsupported value: "Regex": supported values: "Exact", "ImplementationSpecific", "Prefix"'
            ],
        ),
        (rule(path="web"), ['spec.rules[0].http.paths[0].path: Invalid value: "web": must be an absolute path']),
        (rule(path="/a//b"), ["spec.rules[0].http.paths[0].path: Invalid value: \"/a//b\": must not contain '//'"]),
        (rule(path="/a/.."), ["spec.rules[0].http.paths[0].path: Invalid value: \"/a/..\": cannot end with '/..'"]),
        ({"defaultBackend": {}}, []),
        (
            {"defaultBackend": {"service": {"name": "web", "port": {"name": "http"}}}},
            ['spec.defaultBackend: Invalid value: "": cannot set both port name & port number'],
        ),
        (
            {"defaultBackend": {"service": {"port": {"number": None}}}},
            ["spec.defaultBackend: Required value: port name or number is required"],
        ),
        (
            {"defaultBackend": {"service": {"port": {"number": 99999}}}},
            ["spec.defaultBackend.service.port.number: Invalid value: 99999: must be between 1 and 65535, inclusive"],
        ),
        ({"defaultBackend": {"service": {"name": ""}}}, ["spec.defaultBackend.service.name: Required value"]),
        (
            {"defaultBackend": {"resource": {"kind": "K", "name": "n"}}},
            ['spec.defaultBackend: Invalid value: "": cannot set both resource and service backends'],
        ),
        (
            {"defaultBackend": {"service": None}},
            ['spec.defaultBackend: Invalid value: "": resource or service backend is required'],
        ),
        (
            {"defaultBackend": {"service": None, "resource": {"kind": "", "name": ""}}},
            ["spec.defaultBackend.resource.kind: Required value", "spec.defaultBackend.resource.name: Required value"],
        ),
        ({"tls": [{"hosts": ["*.a.b", "a.b"], "secretName": "s"}]}, []),
    ],
)
def test_ingresses(door, patched, spec, errors):
    assert door.refused(patched(INGRESS, {"spec": spec})) == errors


@pytest.mark.parametrize(
    ("spec", "fields"),
    [
        ({"tls": [{"hosts": ["A_b"]}]}, ["spec.tls[0].hosts[0]"]),
        ({"tls": [{"secretName": "No!"}]}, ["spec.tls[0].secretName"]),
        ({"ingressClassName": "No!"}, ["spec.ingressClassName"]),
    ],
)
def test_names_in_ingresses(door, patched, spec, fields):
    wrong = patched(INGRESS, {"spec": spec})
    assert [error.split(":")[0] for error in door.refused(wrong)] == fields
    tolerated = "secretName" in fields[0]
    assert bool(door.change_refused(wrong, wrong)) is not tolerated


def test_the_class_of_an_ingress_in_two_places(door, patched):
    old_way = patched(INGRESS, {"metadata": {"annotations": {"kubernetes.io/ingress.class": "a"}}})
    assert door.warned(old_way) == [
        "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"
    ]
    assert door.refused(patched(old_way, {"spec": {"ingressClassName": "a"}})) == []
    assert door.refused(patched(old_way, {"spec": {"ingressClassName": "b"}})) == [
        'annotations.kubernetes.io/ingress.class: Invalid value: "a": must match `ingressClassName` when both are specified'
    ]


@pytest.mark.parametrize(
    ("point", "fields"),
    [
        ({"ip": "10.0.0.1"}, []),
        ({"hostname": "a.b"}, []),
        ({"ip": "10"}, ["ip"]),
        ({"hostname": "10.0.0.1"}, ["hostname"]),
    ],
)
def test_where_an_ingress_is_served(door, patched, point, fields):
    new = patched(INGRESS, {"status": {"loadBalancer": {"ingress": [point]}}})
    found = [error.split(":")[0] for error in door.change_refused(INGRESS, new, "status")]
    assert found == [f"status.loadBalancer.ingress[0].{field}" for field in fields]


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        ({"controller": ""}, ["spec.controller: Required value"]),
        (
            {"controller": "proxy"},
            ['spec.controller: Invalid value: "proxy": must be a domain-prefixed path (such as "acme.io/foo")'],
        ),
        ({"controller": "a.b/" + "c" * 250}, ["spec.controller: Too long: may not be more than 250 bytes"]),
        ({"parameters": {"kind": "", "name": "n"}}, ["spec.parameters.kind: Required value"]),
        (
            {"parameters": {"kind": "K", "name": "n", "scope": "Galaxy"}},
            ['spec.parameters.scope: Unsupported value: "Galaxy": supported values: "Cluster", "Namespace"'],
        ),
        (
            {"parameters": {"kind": "K", "name": "n", "scope": "Namespace"}},
            ["spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"],
        ),
        (
            {"parameters": {"kind": "K", "name": "n", "namespace": "x"}},
            ["spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'"],
        ),
    ],
)
def test_ingress_classes(door, patched, spec, errors):
    assert door.refused(patched(CLASS, {"spec": spec})) == errors


def ports(**port) -> dict:
    return {"ingress": [{"ports": [port]}]}


def peers(*found: dict) -> dict:
    return {"egress": [{"to": list(found)}]}


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        (ports(port=80, endPort=90), []),
        (ports(port="http"), []),
        (ports(port=0), ["spec.ingress[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"]),
        (
            ports(port=90, endPort=80),
            ["spec.ingress[0].ports[0].endPort: Invalid value: 80: must be greater than or equal to `port`"],
        ),
        (
            ports(endPort=80),
            ["spec.ingress[0].ports[0].endPort: Invalid value: 80: may not be specified when `port` is not specified"],
        ),
        (
            ports(port="http", endPort=80),
            ["spec.ingress[0].ports[0].endPort: Invalid value: 80: may not be specified when `port` is non-numeric"],
        ),
        (
            ports(protocol="ICMP"),
            ['spec.ingress[0].ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"'],
        ),
        (peers({"podSelector": {}, "namespaceSelector": {}}), []),
        (peers({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}), []),
        (peers({}), ["spec.egress[0].to[0]: Required value: must specify a peer"]),
        (
            peers({"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}),
            ["spec.egress[0].to[0]: Forbidden: may not specify both ipBlock and another peer"],
        ),
        (peers({"ipBlock": {}}), ["spec.egress[0].to[0].ipBlock.cidr: Required value"]),
        (
            peers({"ipBlock": {"cidr": "10.0.0.0"}}),
            [
                'spec.egress[0].to[0].ipBlock.cidr: Invalid value: "10.0.0.0": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)'
            ],
        ),
        (
            peers({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}),
            ['spec.egress[0].to[0].ipBlock.except[0]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`'],
        ),
        (
            peers({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}),
            ['spec.egress[0].to[0].ipBlock.except[0]: Invalid value: "10.0.0.0/8": must be a strict subset of `cidr`'],
        ),
        (
            {"policyTypes": ["Out"]},
            ['spec.policyTypes[0]: Unsupported value: "Out": supported values: "Egress", "Ingress"'],
        ),
        (
            {"policyTypes": ["Egress"] * 3},
            [
                'spec.policyTypes: Invalid value: ["Egress","Egress","Egress"]: may not specify more than two policyTypes'
            ],
        ),
    ],
)
def test_network_policies(door, patched, spec, errors):
    assert door.refused(patched(POLICY, {"spec": spec})) == errors


@pytest.mark.parametrize(
    ("changes", "errors"),
    [
        ({"metadata": {"name": "2001:db8::1"}}, []),
        (
            {"metadata": {"name": "2001:DB8::1"}},
            ['metadata.name: Invalid value: "2001:DB8::1": must be in canonical form ("2001:db8::1")'],
        ),
        (
            {"metadata": {"name": "::ffff:10.0.0.1"}},
            ['metadata.name: Invalid value: "::ffff:10.0.0.1": must not be an IPv4-mapped IPv6 address'],
        ),
        (
            {"metadata": {"name": "ten"}},
            ['metadata.name: Invalid value: "ten": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'],
        ),
        ({"spec": {"parentRef": None}}, ["spec.parentRef: Required value"]),
        (
            {"spec": {"parentRef": {"resource": "", "name": ""}}},
            ["spec.parentRef.resource: Required value", "spec.parentRef.name: Required value"],
        ),
    ],
)
def test_addresses(door, patched, changes, errors):
    assert door.refused(patched(ADDRESS, changes)) == errors


@pytest.mark.parametrize(
    ("blocks", "errors"),
    [
        (["10.0.0.0/16", "2001:db8::/112"], []),
        ([], ["spec.cidrs: Required value: at least one CIDR required"]),
        (
            ["10.0.0.1/16"],
            ['spec.cidrs[0]: Invalid value: "10.0.0.1/16": must not have bits set beyond the prefix length'],
        ),
        (
            ["2001:DB8::/112"],
            ['spec.cidrs[0]: Invalid value: "2001:DB8::/112": must be in canonical form ("2001:db8::/112")'],
        ),
        (
            ["10.0.0.0/16", "10.1.0.0/16"],
            [
                'spec.cidrs: Invalid value: ["10.0.0.0/16","10.1.0.0/16"]: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64'
            ],
        ),
        (["a", "b", "c"], ['spec.cidrs: Invalid value: {"cidrs":["a","b","c"]}: may only hold up to 2 values']),
    ],
)
def test_service_cidrs(door, patched, blocks, errors):
    assert door.refused(patched(CIDR, {"spec": {"cidrs": blocks}})) == errors


@pytest.mark.parametrize(
    ("manifest", "spec", "fields"),
    [
        (CLASS, {"controller": "example.com/other"}, ["spec.controller"]),
        (ADDRESS, {"parentRef": {"name": "other"}}, ["spec.parentRef"]),
        (CIDR, {"cidrs": ["10.1.0.0/16"]}, ["spec.cidrs[0]"]),
        (CIDR, {"cidrs": ["10.0.0.0/16", "2001:db8::/112"]}, []),
        (CIDR, {"cidrs": ["10.1.0.0/16", "2001:db8::/112"]}, ["spec.cidrs[0]"]),
        (CIDR, {"cidrs": []}, ["spec.cidrs"]),
    ],
)
def test_what_may_not_change(door, patched, manifest, spec, fields):
    new = patched(manifest, {"spec": spec})
    assert [error.split(":")[0] for error in door.change_refused(manifest, new)] == fields


@pytest.mark.parametrize("manifest", [INGRESS, CLASS, POLICY], ids=lambda manifest: manifest["kind"])
def test_changes_of_the_spec_are_counted(door, patched, manifest):
    old = door.created(manifest)
    assert old["metadata"]["generation"] == 1
    assert door.changed(old, patched(old, {"metadata": {"labels": {"a": "b"}}}))["metadata"]["generation"] == 1
    other = {"Ingress": {"ingressClassName": "c"}, "IngressClass": {"parameters": {"kind": "K"}}}
    changes = other.get(manifest["kind"], {"podSelector": {"matchLabels": {"a": "b"}}})
    assert door.changed(old, patched(old, {"spec": changes}))["metadata"]["generation"] == 2
