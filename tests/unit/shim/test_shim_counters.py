"""Control groups of both versions are read under one set of names."""

from pathlib import Path

import pytest

from navarch.runtime_shim.containerd import counters
from navarch.runtime_shim.containerd.cgroups import Cgroups
from navarch.runtime_shim.containerd.counters import Counters, DeviceIo

DIVIDED = {
    "cpuacct/pod/a/cpuacct.usage": "3500000000\n",
    "cpuacct/pod/a/cpuacct.stat": "user 200\nsystem 100\n",
    "cpu/pod/a/cpu.stat": "nr_periods 9\nnr_throttled 4\nthrottled_time 2500000000\n",
    "memory/pod/a/memory.usage_in_bytes": "8192\n",
    "memory/pod/a/memory.max_usage_in_bytes": "16384\n",
    "memory/pod/a/memory.failcnt": "2\n",
    "memory/pod/a/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
    "memory/pod/a/memory.kmem.usage_in_bytes": "512\n",
    "memory/pod/a/memory.stat": (
        "cache 1\ntotal_cache 4096\ntotal_rss 2048\ntotal_mapped_file 1024\ntotal_swap 77\n"
        "total_active_file 10\ntotal_inactive_file 20\ntotal_pgfault 30\ntotal_pgmajfault 3\n"
    ),
    "pids/pod/a/pids.current": "5\n",
    "pids/pod/a/pids.max": "max\n",
    "blkio/pod/a/blkio.throttle.io_service_bytes_recursive": "8:0 Read 100\n8:0 Write 200\n8:0 Discard 7\nTotal 307\n",
    "blkio/pod/a/blkio.throttle.io_serviced_recursive": "8:0 Read 1\n8:0 Write 2\n8:0 Discard 1\nTotal 4\n",
}
UNIFIED = {
    "cgroup.controllers": "cpu memory pids io\n",
    "pod/a/cpu.stat": (
        "usage_usec 3500000\nuser_usec 2000000\nsystem_usec 1000000\n"
        "nr_periods 9\nnr_throttled 4\nthrottled_usec 2500000\n"
    ),
    "pod/a/memory.current": "8192\n",
    "pod/a/memory.peak": "16384\n",
    "pod/a/memory.events": "low 0\nhigh 0\nmax 2\noom 1\noom_kill 1\n",
    "pod/a/memory.swap.current": "77\n",
    "pod/a/memory.stat": (
        "anon 2048\nfile 4096\nkernel 512\nfile_mapped 1024\n"
        "active_file 10\ninactive_file 20\npgfault 30\npgmajfault 3\n"
    ),
    "pod/a/pids.current": "5\n",
    "pod/a/pids.max": "max\n",
    "pod/a/io.stat": "8:0 rbytes=100 wbytes=200 rios=1 wios=2 dbytes=7 dios=1\n",
}
READ = Counters(
    cpu_ns=3_500_000_000,
    cpu_user_ns=2_000_000_000,
    cpu_system_ns=1_000_000_000,
    periods=9,
    throttled_periods=4,
    throttled_ns=2_500_000_000,
    memory_bytes=8192,
    memory_peak_bytes=16384,
    memory_limit_hits=2,
    oom_kills=1,
    kernel_bytes=512,
    swap_bytes=77,
    memory={
        "cache": 4096, "rss": 2048, "mapped_file": 1024, "active_file": 10, "inactive_file": 20,
        "pgfault": 30, "pgmajfault": 3,
    },
    processes=5,
    processes_limit=0,
    io={"8:0": DeviceIo(read_bytes=100, reads=1, written_bytes=200, writes=2)},
)  # fmt: skip


@pytest.mark.parametrize("files", [DIVIDED, UNIFIED], ids=["v1", "v2"])
def test_both_versions_say_the_same(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = counters.read(Cgroups(tmp_path), "/pod/a")
    assert found == READ
    assert found.working_set_bytes == 8172


@pytest.mark.parametrize("files", [["memory/x"], ["cgroup.controllers"]], ids=["v1", "v2"])
def test_a_group_that_is_gone_counts_nothing(tmp_path: Path, files: list[str]) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = counters.read(Cgroups(tmp_path), "/gone")
    assert (found.cpu_ns, found.memory_bytes, found.processes, found.io) == (0, 0, 0, {})
