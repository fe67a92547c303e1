"""The kubelet's own series, as the dashboards and alerts of kube-prometheus ask for them."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from navarch.services.base.tls_context import client_context

Series = dict[str, list[tuple[dict[str, str], float]]]


@pytest.fixture
async def session(lab: Any) -> AsyncIterator[aiohttp.ClientSession]:
    """The HTTPS endpoints, as an administrator."""
    context = client_context(lab.credentials("kube-apiserver", "system:masters"))
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(f"https://127.0.0.1:{lab.kubelet.port}", connector=connector) as opened:
        yield opened


async def series(session: aiohttp.ClientSession, path: str = "/metrics") -> Series:
    found: Series = {}
    async with session.get(path) as response:
        assert response.status == 200
        text = await response.text()
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            found.setdefault(one.name, []).append((one.labels, one.value))
    return found


def value(found: Series, name: str, **labels: str) -> float:
    """The sum over the rows with these labels."""
    return sum(value for shown, value in found.get(name, ()) if labels.items() <= shown.items())


async def test_what_the_alerts_of_kube_prometheus_ask_for(lab: Any, session: aiohttp.ClientSession) -> None:
    await lab.create("web", volumes=[{"name": "cache", "emptyDir": {}}])
    await lab.running("web")
    await lab.create("stuck", {"pull-error": "no"}, containers=[{"name": "main", "image": "broken:1"}])
    await lab.when("stuck", lambda pod: pod.status.container_statuses)
    found = await series(session)
    assert found["kubelet_node_name"] == [({"node": "n1"}, 1.0)]
    assert value(found, "kubelet_running_pods") == 2
    assert value(found, "kubelet_running_containers", container_state="running") == 1
    assert value(found, "kubelet_desired_pods", static="false") == 2
    assert value(found, "kubelet_started_pods_total") == 2
    assert value(found, "kubelet_started_containers_total", container_type="container") == 1
    assert value(found, "kubelet_pod_worker_duration_seconds_count", operation_type="create") >= 4
    for name in ("", "sli_", "total_"):
        assert value(found, f"kubelet_pod_start_{name}duration_seconds_count") == 1
    assert value(found, "kubelet_runtime_operations_total", operation_type="run_podsandbox") == 2
    assert value(found, "kubelet_runtime_operations_errors_total", operation_type="pull_image") >= 1
    assert value(found, "kubelet_runtime_operations_duration_seconds_count", operation_type="create_container") == 1
    assert value(found, "kubelet_pleg_relist_duration_seconds_count") >= 1
    assert value(found, "kubelet_pleg_last_seen_seconds") > 0
    mounts = {"operation_name": "volume_mount", "volume_plugin": "kubernetes.io/empty-dir", "status": "success"}
    assert value(found, "storage_operation_duration_seconds_count", **mounts) == 1
    for state in ("desired", "actual"):
        labels = {"plugin_name": "kubernetes.io/empty-dir", "state": f"{state}_state_of_world"}
        assert value(found, "volume_manager_total_volumes", **labels) == 1
    assert value(found, "rest_client_requests_total", code="200", host=lab.address) > 0
    assert value(found, "rest_client_request_duration_seconds_count", verb="GET") > 0
    assert value(found, "kubernetes_build_info", major="1") == 1
    assert value(found, "process_resident_memory_bytes") > 0
    again = await series(session)
    assert value(again, "kubelet_http_requests_total", method="GET", path="metrics", long_running="false") == 1


async def test_callers_cannot_make_series(lab: Any, session: aiohttp.ClientSession) -> None:
    for path in ("/made-up/one", "/made-up/two", "/containerLogs/default/none/main"):
        async with session.get(path) as response:
            assert response.status == 404
    found = await series(session)
    assert {labels["path"] for labels, _ in found["kubelet_http_requests_total"]} == {"other", "containerLogs"}


async def test_probes_are_counted_as_long_as_their_pod_is_there(lab: Any, session: aiohttp.ClientSession) -> None:
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 1}
    containers = [{"name": "main", "image": "app:1", "readinessProbe": probe}]
    pod = await lab.create("probed", containers=containers)
    await lab.running("probed")
    found = await series(session, "/metrics/probes")
    labels = {"probe_type": "Readiness", "container": "main", "pod": "probed", "namespace": "default"}
    assert value(found, "prober_probe_total", **labels, result="successful", pod_uid=pod.metadata.uid) >= 1
    assert value(found, "prober_probe_duration_seconds_count", **labels) >= 1
    await lab.client.delete(type(pod), "probed", "default")
    await lab.gone("probed")

    async def forgotten() -> bool:
        return not any(
            shown.get("pod") == "probed"
            for rows in (await series(session, "/metrics/probes")).values()
            for shown, _ in rows
        )

    await lab.until(forgotten)
