"""Where proxied requests go, and what becomes of links."""

import random

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import codec
from navarch.services.api.errors import ApiError, BadRequest, ServiceUnavailable
from navarch.services.apiserver.doors.rest.streams import backends, rewriting
from navarch.services.apiserver.doors.rest.streams.backends import Backend, Name

HOSTS = frozenset({"10.1.2.3:8080", "api:6443"})
PREFIX = "/api/v1/namespaces/default/pods/web/proxy"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("web", Name("", "web", "")),
        ("web:80", Name("", "web", "80")),
        ("web:http", Name("", "web", "http")),
        ("https:web:443", Name("https", "web", "443")),
        ("https:web:", Name("https", "web", "")),
        (":web:80", Name("", "web", "80")),
    ],
)
def test_names(text: str, name: Name) -> None:
    assert backends.parse_name(text, "pod") == name


@pytest.mark.parametrize("text", ["", ":80", "ftp:web:80", "a:b:c:d"])
def test_names_that_are_none(text: str) -> None:
    with pytest.raises(BadRequest, match="invalid pod request"):
        backends.parse_name(text, "pod")


def pod(ip: str, *ports: int) -> corev1.Pod:
    made = corev1.Pod()
    made.status.pod_ip = ip
    container = made.spec.containers.add(name="main")
    for port in ports:
        container.ports.add(container_port=port)
    return made


@pytest.mark.parametrize(
    ("target", "asked", "backend"),
    [
        (pod("10.1.2.3"), "web", Backend("http", "10.1.2.3:80")),
        (pod("10.1.2.3", 8080, 9090), "web", Backend("http", "10.1.2.3:8080")),
        (pod("10.1.2.3", 8080), "web:1234", Backend("http", "10.1.2.3:1234")),
        (pod("10.1.2.3"), "https:web:", Backend("https", "10.1.2.3:443")),
        (pod("fd00::1", 80), "web", Backend("http", "[fd00::1]:80")),
    ],
)
def test_pods(target: corev1.Pod, asked: str, backend: Backend) -> None:
    assert backends.of_pod(target, backends.parse_name(asked, "pod")) == backend


@pytest.mark.parametrize("ip", ["", "127.0.0.1", "169.254.169.254", "::1", "224.0.0.1", "0.0.0.0"])
def test_addresses_that_nobody_reaches(ip: str) -> None:
    with pytest.raises(BadRequest, match="address not allowed"):
        backends.of_pod(pod(ip), Name("", "web", ""))


def service_and_endpoints() -> tuple[corev1.Service, corev1.Endpoints]:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}, {"name": "admin", "port": 81, "targetPort": 8081}]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": ports}}
    subset = {
        "addresses": [{"ip": "10.0.0.1"}],
        "notReadyAddresses": [{"ip": "10.0.0.2"}],
        "ports": [{"name": "http", "port": 8080}, {"name": "admin", "port": 8081}],
    }
    endpoints = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web"}, "subsets": [subset]}
    found = codec.from_json(service), codec.from_json(endpoints)
    assert isinstance(found[0], corev1.Service)
    assert isinstance(found[1], corev1.Endpoints)
    return found[0], found[1]


@pytest.mark.parametrize(
    ("port", "address"), [("http", "10.0.0.1:8080"), ("80", "10.0.0.1:8080"), ("81", "10.0.0.1:8081")]
)
def test_services(port: str, address: str) -> None:
    service, endpoints = service_and_endpoints()
    backend = backends.of_service(service, endpoints, Name("", "web", port), random.Random(1))
    assert backend == Backend("http", address)


@pytest.mark.parametrize(
    ("port", "message"),
    [
        ("82", 'no service port 82 found for service "web"'),
        ("other", 'no endpoints available for service "web"'),
        ("", 'no endpoints available for service "web"'),
    ],
)
def test_services_without_an_answer(port: str, message: str) -> None:
    service, endpoints = service_and_endpoints()
    with pytest.raises(ServiceUnavailable, match=message):
        backends.of_service(service, endpoints, Name("", "web", port), random.Random(1))


def node(port: int = 10250) -> corev1.Node:
    made = corev1.Node()
    made.status.addresses.add(type="InternalIP", address="10.0.0.9")
    made.status.daemon_endpoints.kubelet_endpoint.port = port
    return made


@pytest.mark.parametrize(
    ("asked", "backend"),
    [
        ("n1", Backend("https", "10.0.0.9:10250", to_kubelet=True)),
        ("n1:10250", Backend("https", "10.0.0.9:10250", to_kubelet=True)),
        ("n1:9100", Backend("http", "10.0.0.9:9100")),
        ("https:n1:9100", Backend("https", "10.0.0.9:9100")),
    ],
)
def test_nodes(asked: str, backend: Backend) -> None:
    assert backends.of_node(node(), backends.parse_name(asked, "node")) == backend


def test_a_node_without_an_address() -> None:
    with pytest.raises(ApiError, match="no preferred addresses found"):
        backends.of_node(corev1.Node(), Name("", "n1", ""))


@pytest.mark.parametrize(
    ("url", "rewritten"),
    [
        ("/login?next=/", f"{PREFIX}/login?next=/"),
        ("http://10.1.2.3:8080/x#y", f"{PREFIX}/x#y"),
        ("https://api:6443/x", f"{PREFIX}/x"),
        ("http://10.1.2.3:8080", f"{PREFIX}/"),
        ("http://example.org/x", "http://example.org/x"),
        ("relative/x", "relative/x"),
        ("#here", "#here"),
        ("mailto:a@b", "mailto:a@b"),
        (f"{PREFIX}/x", f"{PREFIX}/x"),
        ("//[broken", "//[broken"),
    ],
)
def test_links(url: str, rewritten: str) -> None:
    assert rewriting.link(url, PREFIX, HOSTS) == rewritten


def test_pages() -> None:
    page = (
        b'<html><a class=x href=\'/a\' title="/t">/not</a><img src="b.png"><IMG SRC = "/c">'
        b'<form action="/d" ><script>var href="/e"</script>\xff</html>'
    )
    prefix = PREFIX.encode()
    expected = page.replace(b"'/a'", b"'" + prefix + b"/a'").replace(b'"/c"', b'"' + prefix + b'/c"')
    expected = expected.replace(b'"/d"', b'"' + prefix + b'/d"')
    assert rewriting.html(page, PREFIX, HOSTS) == expected
