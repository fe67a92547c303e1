"""What is read from control groups, how rates are had, and how the figures are shown."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from navarch.protos.navarch import stats_pb2
from navarch.services.kubelet.core.observed import RUNNING, Container
from navarch.services.kubelet.https.documents import document
from navarch.services.kubelet.https.usage import cadvisor_metrics, resource_metrics
from navarch.services.kubelet.inspection import moment
from navarch.services.kubelet.node.host import Host
from navarch.services.kubelet.stats import messages
from navarch.services.kubelet.stats.disks import SlowReadings, mounted
from navarch.services.kubelet.stats.groups import first_process, read_cpu_ns, read_group
from navarch.services.kubelet.stats.network import interfaces, main_interface, network_usage
from navarch.services.kubelet.stats.rates import Rates

V1 = {
    "memory/pod/memory.usage_in_bytes": "1000",
    "memory/pod/memory.stat": "cache 1\nhierarchical_memory_limit 5000\nhierarchical_memsw_limit 7000\ntotal_rss 300\n"
    "total_inactive_file 400\ntotal_pgfault 8\ntotal_pgmajfault 2\ntotal_swap 50\n",
    "memory/pod/cgroup.procs": "17\n18\n",
    "cpuacct/pod/cpuacct.usage": "123456789\n",
    "pids/pod/pids.current": "3\n",
}
V2 = {
    "pod/memory.current": "1000",
    "pod/memory.max": "5000\n",
    "pod/memory.stat": "anon 300\ninactive_file 400\npgfault 8\npgmajfault 2\n",
    "pod/memory.swap.current": "50",
    "pod/memory.swap.max": "2000",
    "pod/cpu.stat": "usage_usec 123456\nuser_usec 1\n",
    "pod/pids.current": "3",
    "pod/cgroup.procs": "17\n18\n",
    "pod/cpu.pressure": "some avg10=1.50 avg60=2.00 avg300=0.10 total=7\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
}


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


@pytest.mark.parametrize(("files", "cpu_ns"), [(V1, 123456789), (V2, 123456000)], ids=["v1", "v2"])
def test_a_control_group_is_read(tmp_path: Path, files: dict[str, str], cpu_ns: int) -> None:
    root = tree(tmp_path, files)
    found = read_group("/pod", root)
    assert found is not None
    assert (found.cpu_ns, found.memory_bytes, found.working_set_bytes, found.rss_bytes) == (cpu_ns, 1000, 600, 300)
    assert (found.page_faults, found.major_page_faults, found.processes) == (8, 2, 3)
    assert (found.memory_limit_bytes, found.swap_bytes, found.swap_limit_bytes) == (5000, 50, 2000)
    assert read_cpu_ns("/pod", root) == cpu_ns
    assert first_process("/pod", root) == 17
    usage = stats_pb2.ContainerUsage()
    messages.add_group(usage, found)
    assert (usage.memory.available_bytes, usage.swap.swap_available_bytes) == (4400, 1950)


@pytest.mark.parametrize("files", [V1, V2], ids=["v1", "v2"])
def test_a_control_group_that_is_gone_has_no_figures(tmp_path: Path, files: dict[str, str]) -> None:
    root = tree(tmp_path, files)
    assert read_group("/gone", root) is None
    assert read_cpu_ns("/gone", root) is None
    assert first_process("/gone", root) is None


def test_without_a_limit_nothing_is_said_of_what_is_left(tmp_path: Path) -> None:
    unlimited = {**V1, "memory/pod/memory.stat": V1["memory/pod/memory.stat"].replace("5000", "9223372036854771712")}
    for directory, files in (("v1", unlimited), ("v2", {**V2, "pod/memory.max": "max\n"})):
        found = read_group("/pod", tree(tmp_path / directory, files))
        assert found is not None
        usage = stats_pb2.PodUsage()
        messages.add_group(usage, found)
        assert not usage.memory.HasField("available_bytes")


def test_waits_are_counted_in_nanoseconds(tmp_path: Path) -> None:
    found = read_group("/pod", tree(tmp_path, V2))
    assert found is not None
    some = found.pressures["cpu"].some
    assert (some.total, some.avg10, some.avg60, some.avg300) == (7000, 1.5, 2.0, 0.1)
    assert set(found.pressures) == {"cpu"}


def test_rates_are_over_the_last_readings_that_are_not_too_near() -> None:
    rates = Rates()
    assert rates.nano_cores("web", 100.0, 0) is None
    assert rates.nano_cores("web", 100.5, 400_000_000) is None
    assert rates.nano_cores("web", 102.0, 1_000_000_000) == 500_000_000
    assert rates.nano_cores("web", 110.0, 10_000_000_000) == 1_000_000_000
    # A second after a reading that was kept, the rate is over that second and the time before it.
    assert rates.nano_cores("web", 110.5, 10_000_000_000) == 952_380_952
    assert rates.nano_cores("web", 120.0, 10_000_000_000) == 0


def test_a_counter_that_began_anew_has_no_rate_yet() -> None:
    rates = Rates()
    rates.nano_cores("web", 100.0, 5_000)
    assert rates.nano_cores("web", 110.0, 1_000) is None
    assert rates.nano_cores("web", 112.0, 3_000) == 1_000
    rates.forget(before=120.0)
    assert rates.nano_cores("web", 121.0, 4_000) is None


def test_interfaces_and_the_one_that_leads_out(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            "net/dev": "Inter-|\n face |\n    lo: 9 1 0 0 0 0 0 0 9 1 0 0 0 0 0 0\n"
            "  net1: 1 1 2 0 0 0 0 0 3 1 4 0 0 0 0 0\nvethab: 5 0 0 0 0 0 0 0 5 0 0 0 0 0 0 0\n"
            "  eth7: 10 1 0 0 0 0 0 0 30 1 0 0 0 0 0 0\n",
            "net/route": "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
            "net1\t0000000A\t0\t1\t0\t0\t0\t000000FF\neth7\t00000000\t0100000A\t3\t0\t0\t0\t00000000\n",
        },
    )
    usage = network_usage(interfaces(tmp_path), main_interface(tmp_path))
    assert [one.name for one in usage.interfaces] == ["net1", "eth7"]
    assert (usage.name, usage.rx_bytes, usage.tx_bytes) == ("eth7", 10, 30)
    assert (usage.interfaces[0].rx_errors, usage.interfaces[0].tx_errors) == (2, 4)
    assert interfaces(tmp_path / "gone") == []
    assert main_interface(tmp_path / "gone") == "eth0"


class Clock:
    at = 0.0

    def monotonic(self) -> float:
        return self.at


async def test_directories_are_walked_once_a_minute_and_old_figures_serve_meanwhile() -> None:
    clock, walks = Clock(), []
    go_on = threading.Event()

    def walk() -> stats_pb2.FsUsage:
        walks.append(clock.at)
        if clock.at:
            assert go_on.wait(60)
        return stats_pb2.FsUsage(used_bytes=len(walks))

    wanted: dict[tuple[str, str], Callable[[], stats_pb2.FsUsage]] = {("uid", "cache"): walk}
    readings = SlowReadings(clock)  # type: ignore[arg-type]
    for clock.at in (0.0, 30.0, 61.0, 62.0):
        assert (await readings.of(wanted))["uid", "cache"].used_bytes == 1
    go_on.set()
    while (await readings.of(wanted))["uid", "cache"].used_bytes == 1:
        await asyncio.sleep(0.01)
    assert len(walks) == 2
    assert await readings.of({}) == {}
    readings.close()


def test_a_volume_that_is_a_device_has_no_file_system(tmp_path: Path) -> None:
    assert mounted(tmp_path).capacity_bytes > 0
    with pytest.raises(NotADirectoryError):
        mounted(Path("/dev/null"))


async def test_what_cannot_be_read_has_no_figures() -> None:
    def fail() -> stats_pb2.FsUsage:
        raise FileNotFoundError

    readings = SlowReadings(Clock())  # type: ignore[arg-type]
    assert await readings.of({("uid", "gone"): fail}) == {}
    readings.close()


def a_summary() -> stats_pb2.Summary:
    summary = stats_pb2.Summary()
    summary.node.node_name = "n1"
    summary.node.start_time.seconds = 1_600_000_000
    summary.node.cpu.usage_core_nano_seconds = 2_500_000_000
    summary.node.memory.working_set_bytes = 4096
    summary.node.network.interfaces.add(name="eth0", rx_bytes=5, tx_bytes=6, rx_errors=0, tx_errors=0)
    pod = summary.pods.add(start_time=moment(1_700_000_000.0))
    pod.pod_ref.name, pod.pod_ref.namespace, pod.pod_ref.uid = "web", "default", "u1"
    pod.cpu.usage_core_nano_seconds = 1_000_000_000
    pod.process_stats.process_count = 0
    pod.ephemeral_storage.used_bytes = 7
    volume = pod.volume.add(name="data", used_bytes=0)
    volume.pvc_ref.name, volume.pvc_ref.namespace = "claim", "default"
    one = pod.containers.add(name="main", start_time=moment(1_700_000_000.5))
    one.cpu.usage_core_nano_seconds = 1_000_000_000
    one.memory.working_set_bytes = one.memory.usage_bytes = 100
    one.memory.available_bytes = 900
    one.rootfs.used_bytes = 11
    messages.stamp(summary, moment(1_700_000_100.25))  # type: ignore[arg-type]
    return summary


def test_the_document_has_the_names_of_the_genuine_one() -> None:
    shown = document(a_summary())
    [pod] = shown["pods"]
    assert pod["podRef"] == {"name": "web", "namespace": "default", "uid": "u1"}
    assert pod["process_stats"] == {"process_count": 0}
    assert pod["ephemeral-storage"] == {"time": "2023-11-14T22:15:00Z", "usedBytes": 7}
    assert pod["volume"][0]["pvcRef"] == {"name": "claim", "namespace": "default"}
    assert pod["volume"][0]["usedBytes"] == 0
    assert pod["containers"][0]["startTime"] == "2023-11-14T22:13:20Z"
    assert shown["node"]["cpu"] == {"time": "2023-11-14T22:15:00Z", "usageCoreNanoSeconds": 2_500_000_000}


def test_cpu_and_memory_only() -> None:
    shown = document(messages.light(a_summary()))
    [pod] = shown["pods"]
    assert set(shown["node"]) == {"nodeName", "startTime", "cpu", "memory"}
    assert set(pod) == {"podRef", "startTime", "containers", "cpu", "memory"}
    assert set(pod["containers"][0]) == {"name", "startTime", "cpu", "memory"}


UNTIMED = -1.0


def samples(text: bytes) -> dict[tuple[str, ...], list[float]]:
    """By name, container and Pod: value and time."""
    return {
        (one.name, one.labels.get("container", ""), one.labels.get("pod", "")): [
            one.value,
            UNTIMED if one.timestamp is None else float(one.timestamp),
        ]
        for family in text_string_to_metric_families(text.decode())
        for one in family.samples
    }


def test_resource_metrics_carry_the_time_of_their_figures() -> None:
    found = samples(resource_metrics(a_summary()))
    at = 1_700_000_100.25
    assert found["node_cpu_usage_seconds_total", "", ""] == [2.5, at]
    assert found["node_memory_working_set_bytes", "", ""] == [4096, at]
    assert found["container_cpu_usage_seconds_total", "main", "web"] == [1.0, at]
    assert found["container_memory_working_set_bytes", "main", "web"] == [100, at]
    assert found["pod_cpu_usage_seconds_total", "", "web"] == [1.0, at]
    assert found["container_start_time_seconds", "main", "web"] == [1_700_000_000.5, UNTIMED]
    assert found["resource_scrape_error", "", ""] == [0, UNTIMED]
    assert ("pod_memory_working_set_bytes", "", "web") not in found


def test_resource_metrics_tell_that_there_are_no_figures() -> None:
    assert samples(resource_metrics(None)) == {("resource_scrape_error", "", ""): [1, UNTIMED]}


def test_cadvisor_metrics_of_containers_pods_and_the_node() -> None:
    run = Container("c1", "main", 0, "box", RUNNING, 1.0, image="app:1")
    text = cadvisor_metrics(Host(cpus=4, memory_bytes=1 << 30), a_summary(), {("u1", "main"): run})
    found = samples(text)
    assert found["machine_cpu_cores", "", ""] == [4, UNTIMED]
    assert found["container_cpu_usage_seconds_total", "main", "web"][0] == 1.0
    assert found["container_fs_usage_bytes", "main", "web"][0] == 11
    assert found["container_spec_memory_limit_bytes", "main", "web"][0] == 1000
    assert found["container_network_receive_bytes_total", "", ""][0] == 5
    [labels] = [
        one.labels
        for family in text_string_to_metric_families(text.decode())
        for one in family.samples
        if one.name == "container_memory_working_set_bytes" and one.labels["container"] == "main"
    ]
    assert labels == {
        "container": "main",
        "id": "/kubepods/podu1/c1",
        "image": "app:1",
        "name": "c1",
        "namespace": "default",
        "pod": "web",
    }
