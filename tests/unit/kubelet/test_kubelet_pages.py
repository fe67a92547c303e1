"""The kubelet's pages for people, its configuration, and the queries of logs."""

import os
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import UnknownKind
from navarch.services.kubelet.authorization import Deed
from navarch.services.kubelet.config import Config
from navarch.services.kubelet.configuration import configuration, flags
from navarch.services.kubelet.https import pages
from navarch.services.kubelet.https.log_query import BadLogQuery, log_options
from navarch.services.kubelet.https.paths import query_of, raw_path, served_path
from navarch.services.kubelet.measures import operation_of
from navarch.services.kubelet.node.options import NodeOptions
from navarch.services.kubelet.node.status import Reservations
from navarch.services.kubelet.sources.options import SourceOptions

WELL = {"ping": lambda: "", "syncloop": lambda: ""}
SICK = {"ping": lambda: "", "syncloop": lambda: "the runtime is silent"}


def said(response: web.StreamResponse) -> tuple[int, str]:
    assert isinstance(response, web.Response)
    return response.status, response.text or ""


@pytest.mark.parametrize(
    ("checks", "path", "verbose", "expected"),
    [
        (WELL, "/healthz", False, (200, "ok")),
        (WELL, "/healthz/", True, (200, "[+]ping ok\n[+]syncloop ok\nhealthz check passed\n")),
        (WELL, "/healthz/syncloop", False, (200, "ok")),
        (SICK, "/healthz/ping", False, (200, "ok")),
        (SICK, "/healthz/syncloop", False, (500, "internal server error: the runtime is silent\n")),
        (SICK, "/healthz", False, (500, "[+]ping ok\n[-]syncloop failed: reason withheld\nhealthz check failed\n")),
    ],
)
def test_health(checks: Any, path: str, verbose: bool, expected: tuple[int, str]) -> None:
    assert said(pages.health(checks, path, verbose=verbose)) == expected


def test_there_is_no_other_check() -> None:
    with pytest.raises(UnknownKind):
        pages.health(WELL, "/healthz/etcd", verbose=False)


def test_status_page() -> None:
    _, text = said(pages.statusz(1_700_000_000.0, 1_700_003_725.0, ["/pods", "/healthz"]))
    lines = text.splitlines()
    assert lines[1] == "kubelet statusz"
    assert "Started: Tue Nov 14 22:13:20 UTC 2023" in lines
    assert "Up: 1 hr 02 min 05 sec" in lines
    assert lines[-1] == "Paths: /healthz /pods"


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    root = tmp_path / "log"
    (root / "pods").mkdir(parents=True)
    (root / "syslog").write_text("hello\n")
    (root / "a&b").write_text("")
    (tmp_path / "secret").write_text("no")
    (root / "inside").symlink_to("syslog")
    (root / "outside").symlink_to(tmp_path / "secret")
    os.mkfifo(root / "pipe")
    return root


def test_logs_of_the_node_are_listed_and_read(logs: Path) -> None:
    _, listing = said(pages.node_log("", logs))
    assert '<a href="pods/">pods/</a>' in listing
    assert '<a href="a%26b">a&amp;b</a>' in listing
    assert isinstance(pages.node_log("syslog", logs), web.FileResponse)
    assert isinstance(pages.node_log("inside", logs), web.FileResponse)
    moved = pages.node_log("pods", logs)
    assert (moved.status, moved.headers["Location"]) == (301, "pods/")


@pytest.mark.parametrize("path", ["none", "outside", "../secret", "pods/../../secret", "pipe", "x\0y", "x" * 300])
def test_nothing_but_files_below_the_logs_is_served(logs: Path, path: str) -> None:
    with pytest.raises(UnknownKind):
        pages.node_log(path, logs)


def a_config(**fields: Any) -> Config:
    return Config("n1", "127.0.0.1:6443", "unix:///run/cri.sock", Path("/var/lib/kubelet"), **fields)


def test_the_configuration_is_shown_in_the_genuine_form() -> None:
    shown = configuration(
        a_config(
            cluster_dns=("10.96.0.10",),
            system_reserved=Reservations(cpu_millicores=100, memory_bytes=1 << 28),
            taints=[corev1.Taint(key="gpu", value="yes", effect="NoSchedule")],
            sources=SourceOptions(Path("/etc/manifests")),
            node=NodeOptions(transition_s=90.0),
        )
    )
    assert (shown["kind"], shown["apiVersion"]) == ("KubeletConfiguration", "kubelet.config.k8s.io/v1beta1")
    assert (shown["address"], shown["port"], shown["maxPods"]) == ("127.0.0.1", 10250, 110)
    assert shown["evictionHard"]["memory.available"] == str(100 << 20)
    assert shown["evictionHard"]["nodefs.available"] == "10%"
    assert shown["evictionPressureTransitionPeriod"] == "1m30s"
    assert shown["systemReserved"] == {"cpu": "100m", "memory": str(1 << 28)}
    assert shown["registerWithTaints"] == [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]
    assert shown["authentication"]["webhook"] == {"enabled": True, "cacheTTL": "2m0s"}
    assert shown["staticPodPath"] == "/etc/manifests"
    assert shown["enableSystemLogQuery"] is False
    assert "evictionSoft" not in shown


def test_flags_are_shown_by_their_names() -> None:
    _, text = said(pages.flagz(flags(a_config(cluster_dns=("10.96.0.10", "fd00::10")))))
    assert "\ncluster-dns=10.96.0.10,fd00::10\n" in text
    assert "\nanonymous-auth=false\n" in text


def test_a_log_query_is_read() -> None:
    query = {"follow": "", "timestamps": "true", "previous": "false", "tailLines": "0", "limitBytes": "7"}
    options = log_options({**query, "sinceTime": "2026-01-31T12:00:01.5Z"}, "main")
    assert (options.container, options.follow, options.timestamps, options.previous) == ("main", True, True, False)
    assert (options.tail_lines, options.limit_bytes) == (0, 7)
    assert options.HasField("tail_lines")
    assert (options.since_time.seconds, options.since_time.nanos) == (1769860801, 500_000_000)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"tailLines": "x"}, "Unable to decode query."),
        ({"limitBytes": "99999999999999999999999"}, "Unable to decode query."),
        ({"sinceTime": "yesterday"}, "Unable to decode query."),
        ({"tailLines": "-1"}, "Invalid request."),
        ({"limitBytes": "0"}, "Invalid request."),
        ({"sinceSeconds": "0"}, "Invalid request."),
        ({"sinceSeconds": "5", "sinceTime": "2026-01-31T12:00:01Z"}, "Invalid request."),
        ({"stream": "Stdlog"}, "Invalid request."),
        ({"stream": "Stderr", "tailLines": "1"}, "Invalid request."),
    ],
)
def test_a_log_query_that_makes_no_sense_is_refused(query: dict[str, str], message: str) -> None:
    with pytest.raises(BadLogQuery) as refused:
        log_options(query, "main")
    assert (refused.value.code, refused.value.message) == (422, f'{{"message": "{message}"}}')


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/metrics/", "metrics"),
        ("/metrics/cadvisor", "metrics/cadvisor"),
        ("/metrics/made-up", "metrics"),
        ("/exec/default/web/main", "exec"),
        ("/anything", "other"),
        ("/", "other"),
    ],
)
def test_what_a_path_is_called_in_metrics(path: str, name: str) -> None:
    assert served_path(path) == name


@pytest.mark.parametrize(
    ("request_name", "operation"),
    [
        ("RunPodSandboxRequest", "run_podsandbox"),
        ("ListPodSandboxRequest", "list_podsandbox"),
        ("UpdateContainerResourcesRequest", "update_container"),
        ("ImageFsInfoRequest", "image_fs_info"),
        ("ExecSyncRequest", "exec_sync"),
    ],
)
def test_calls_of_the_runtime_have_the_names_of_kubernetes(request_name: str, operation: str) -> None:
    assert operation_of(request_name) == operation


@pytest.mark.parametrize(
    ("target", "subresource"),
    [
        ("/exec/../metrics/x/y", "proxy"),
        ("/%6detrics/../exec/a/b/c", "proxy"),
        ("//metrics?x=/exec", "metrics"),
        ("http://elsewhere/metrics", "proxy"),
    ],
)
def test_requests_are_authorized_by_their_first_word_as_it_came(target: str, subresource: str) -> None:
    assert Deed.of("GET", raw_path(target)).subresources == (subresource,)


def test_a_query_is_decoded() -> None:
    query = query_of("/exec/a/b/c?command=sh&command=-c&command=echo+a%26b&input=1")
    assert query.getall("command") == ["sh", "-c", "echo a&b"]
    assert query_of("/attach/a/b/c").get("input") is None
