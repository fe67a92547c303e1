"""The labels and series of requests."""

import pytest

from navarch.services.api.kinds import KINDS
from navarch.services.apiserver.doors.rest import paths
from navarch.services.apiserver.doors.rest.metrics import RequestMetrics
from navarch.services.base.metrics import Metrics


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def requests(metrics: Metrics) -> RequestMetrics:
    return RequestMetrics(metrics, KINDS)


@pytest.mark.parametrize(
    ("method", "path", "is_watch", "expected"),
    [
        ("GET", "/api/v1/pods", False, ("LIST", "", "v1", "pods", "", "cluster")),
        ("GET", "/api/v1/namespaces/a/pods", True, ("WATCH", "", "v1", "pods", "", "namespace")),
        ("GET", "/api/v1/watch/pods", False, ("WATCH", "", "v1", "pods", "", "cluster")),
        ("GET", "/api/v1/namespaces/a/pods/b", False, ("GET", "", "v1", "pods", "", "resource")),
        ("PATCH", "/apis/apps/v1/namespaces/a/deployments/b/scale", False,
         ("PATCH", "apps", "v1", "deployments", "scale", "resource")),
        ("POST", "/api/v1/namespaces/a/pods/b/exec", False, ("CONNECT", "", "v1", "pods", "exec", "resource")),
        ("DELETE", "/api/v1/namespaces/a/pods", False, ("DELETECOLLECTION", "", "v1", "pods", "", "namespace")),
        ("GET", "/version", False, ("GET", "", "", "", "", "")),
        ("GET", "/apis/made.up/v1/things", False, ("GET", "", "", "", "", "")),
        ("BREW", "/api/v1/namespaces/a/pods/b/made-up", False, ("OTHER", "", "v1", "pods", "", "resource")),
    ],
)  # fmt: skip
def test_labels_come_from_what_is_served(
    requests: RequestMetrics, metrics: Metrics, method: str, path: str, is_watch: bool, expected: tuple[str, ...]
) -> None:
    series = requests.of(method, paths.parse(path), is_watch)
    series.begin()
    series.end(200, 0.01)
    names = ("verb", "group", "version", "resource", "subresource", "scope")
    labels = dict(zip(names, expected, strict=True)) | {"code": "200"}
    assert metrics.registry.get_sample_value("apiserver_request_total", labels) == 1


def test_a_request_is_counted_and_timed(requests: RequestMetrics, metrics: Metrics) -> None:
    series = requests.of("GET", paths.parse("/api/v1/pods"))
    series.begin()
    assert 'apiserver_current_inflight_requests{request_kind="readOnly"} 1.0' in metrics.render().decode()
    series.end(200, 0.01, 17)
    text = metrics.render().decode()
    assert 'apiserver_request_total{code="200",group="",resource="pods",scope="cluster",subresource="",' in text
    assert 'apiserver_current_inflight_requests{request_kind="readOnly"} 0.0' in text
    assert 'apiserver_response_bytes_total{verb="LIST"} 17.0' in text


def test_a_watch_is_no_request_in_flight(requests: RequestMetrics, metrics: Metrics) -> None:
    series = requests.of("GET", paths.parse("/api/v1/pods"), is_watch=True)
    series.begin()
    text = metrics.render().decode()
    assert "apiserver_longrunning_requests{" in text
    assert "request_kind=" not in text
    series.end(200, 60.0)
    assert "apiserver_request_duration_seconds_count" not in metrics.render().decode()


def test_requests_that_are_alike_share_their_series(requests: RequestMetrics) -> None:
    one = requests.of("GET", paths.parse("/api/v1/namespaces/a/pods/b"))
    assert requests.of("HEAD", paths.parse("/api/v1/namespaces/c/pods/d")) is one
    assert requests.of("GET", None) is requests.of("GET", paths.parse("/apis/made.up/v1/things"))
