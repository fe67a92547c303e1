"""Control groups of both versions, from files as the kernel writes them."""

from pathlib import Path

import pytest

from navarch.runtime_shim.containerd.cgroups import Cgroups, Usage

NO_LIMIT = 9223372036854771712
DIVIDED = {
    "cpuacct/pod/c/cpuacct.usage": "7000\n",
    "memory/pod/c/memory.usage_in_bytes": "9000\n",
    "memory/pod/c/memory.limit_in_bytes": "10000\n",
    "memory/pod/c/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    "memory/pod/c/memory.stat": (
        "cache 1\ninactive_file 1\ntotal_rss 4000\ntotal_inactive_file 3000\ntotal_pgfault 50\ntotal_pgmajfault 5\n"
        "total_swap 700\nhierarchical_memsw_limit 11000\n"
    ),
    "memory/pod/c/cgroup.procs": "",
    "memory/pod/other/memory.limit_in_bytes": f"{NO_LIMIT}\n",
    "pids/pod/c/pids.current": "3\n",
    "pids/pod/c/cgroup.procs": "101\n102\n",
    "pids/pod/c/below/cgroup.procs": "103\n",
}
UNIFIED = {
    "cgroup.controllers": "cpuset cpu io memory hugetlb pids rdma misc\n",
    "pod/c/cpu.stat": "usage_usec 7\nuser_usec 4\nsystem_usec 3\nnr_periods 0\n",
    "pod/c/memory.current": "9000\n",
    "pod/c/memory.max": "10000\n",
    "pod/c/memory.events": "low 0\nhigh 0\nmax 12\noom 2\noom_kill 2\noom_group_kill 0\n",
    "pod/c/memory.stat": "anon 4000\nfile 2\ninactive_file 3000\npgfault 50\npgmajfault 5\n",
    "pod/other/memory.max": "max\n",
    "pod/c/pids.current": "3\n",
    "pod/c/cgroup.procs": "101\n102\n",
    "pod/c/below/cgroup.procs": "103\n",
    "pod/c/memory.swap.current": "700\n",
    "pod/c/memory.swap.max": "1000\n",
    "pod/c/cpu.pressure": (
        "some avg10=1.50 avg60=0.25 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n"
    ),
}


@pytest.fixture(params=[DIVIDED, UNIFIED], ids=["v1", "v2"])
def cgroups(request: pytest.FixtureRequest, tmp_path: Path) -> Cgroups:
    for name, text in request.param.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return Cgroups(tmp_path)


def test_usage(cgroups: Cgroups) -> None:
    assert cgroups.usage("/pod/c") == Usage(
        cpu_ns=7000,
        memory_bytes=9000,
        working_set_bytes=6000,
        rss_bytes=4000,
        memory_limit_bytes=10000,
        page_faults=50,
        major_page_faults=5,
        processes=3,
        swap_bytes=700,
        swap_limit_bytes=1000,
    )
    assert cgroups.usage("/pod/other").memory_limit_bytes == 0
    assert cgroups.usage("/gone") == Usage()


def test_pressure(cgroups: Cgroups) -> None:
    found = cgroups.pressure("/pod/c", "cpu")
    if cgroups.unified:
        assert found["some"] == {"avg10": 1.5, "avg60": 0.25, "avg300": 0.0, "total": 77}
        assert found["full"]["total"] == 5
    else:
        assert found == {}
    assert cgroups.pressure("/gone", "io") == {}


def test_processes_killed_for_memory(cgroups: Cgroups) -> None:
    assert cgroups.oom_kills("/pod/c") == 2
    assert cgroups.oom_kills("/pod/other") == 0
    assert cgroups.oom_kills("/gone") == 0


def test_processes_of_a_group_and_below_it(cgroups: Cgroups) -> None:
    assert cgroups.pids("/pod/c") == {101, 102, 103}
    assert cgroups.pids("/gone") == set()


def test_groups_that_are_there(cgroups: Cgroups) -> None:
    assert cgroups.exists("/pod/c")
    assert cgroups.exists("pod")
    assert not cgroups.exists("/gone")
    assert cgroups.has_controller("memory")
    assert cgroups.has_controller("hugetlb") is cgroups.unified
    assert not cgroups.has_controller("nosuch")


def test_removing(cgroups: Cgroups, tmp_path: Path) -> None:
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.name != "cgroup.controllers":
            # A group's own files go with it.
            path.unlink()
    assert cgroups.remove("/pod")
    assert not cgroups.exists("/pod")
    assert cgroups.remove("/pod")
    assert not cgroups.remove("/")


def test_a_group_with_processes_stays(cgroups: Cgroups) -> None:
    assert not cgroups.remove("/pod")
    assert cgroups.pids("/pod/c") == {101, 102, 103}
