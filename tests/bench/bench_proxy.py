"""The proxy alone: what a sync costs with 1, 1,000 and 10,000 Services of five endpoints, in a namespace of its own.

    python tests/bench/bench_proxy.py [SERVICES ...]

Columns: objects to rules (all of them, from nothing); the kernel takes the whole table; one endpoint of one Service is
replaced (median and worst of 50, from the event to the kernel having it, with the run of nft); a Service gets one
endpoint more (also a chain's); the check that nothing was changed by others, and the count if something was; memory
of the process, of which the objects are most.
"""

import asyncio
import ctypes
import gc
import os
import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from navarch.services.proxy import nft
from navarch.services.proxy.netlink import Nftables
from navarch.services.proxy.state import ProxyState
from navarch.services.proxy.structure import Settings, base_chains, containers
from navarch.testing.proxy_objects import NODE, ServiceBuilder, SliceBuilder

SIZES = (1, 1_000, 10_000)
ENDPOINTS = 5
CHANGES = 50
_CLONE_NEWNET = 0x40000000
COLUMNS = (
    ("Services", 9),
    ("plan s", 8),
    ("full sync s", 12),
    ("1 endpoint ms", 14),
    ("worst ms", 9),
    ("1 more ms", 10),
    ("check ms", 9),
    ("count ms", 9),
    ("memory MiB", 11),
)


def a_service(number: int) -> ServiceBuilder:
    address = f"10.{96 + number // 60000}.{number // 250 % 240}.{number % 250 + 1}"
    return ServiceBuilder(f"service-{number}", address).port(80, name="http")


def resident_mib() -> float:
    text = Path("/proc/self/status").read_text()
    return int(text.split("VmRSS:")[1].split()[0]) / 1024


async def measure(size: int) -> list[float]:
    before = resident_mib()
    state = ProxyState(Settings(cluster_cidrs=("10.128.0.0/9",), service_cidrs=("10.96.0.0/12",)), NODE)
    for number in range(size):
        state.set_service(a_service(number).object)
        state.set_slice(endpoints_of(number, range(ENDPOINTS)).object)
    began = time.perf_counter()
    text, _ = state.whole()
    planned = time.perf_counter()
    await nft.apply(text)
    full = time.perf_counter()
    del text
    gc.collect()
    memory = resident_mib() - before
    replaced = [await one(state, endpoints_of(size // 2, [0, 1, 2, 3, 10 + turn])) for turn in range(CHANGES)]
    more = [await one(state, endpoints_of(size // 2, range(5 + turn % 2))) for turn in range(CHANGES)]
    check, count = counts(state)
    await nft.remove(state.settings)
    return [
        size,
        planned - began,
        full - planned,
        statistics.median(replaced) * 1000,
        max(replaced) * 1000,
        statistics.median(more) * 1000,
        check * 1000,
        count * 1000,
        memory,
    ]


def endpoints_of(number: int, endpoints: Iterable[int]) -> SliceBuilder:
    slice = SliceBuilder(f"service-{number}").port(8080, name="http")
    for endpoint in endpoints:
        # 100 addresses a Service.
        place = number * 100 + endpoint
        slice.endpoint(f"10.{128 + place // 65536}.{place // 256 % 256}.{place % 256}")
    return slice


async def one(state: ProxyState, slice: SliceBuilder) -> float:
    began = time.perf_counter()
    state.set_slice(slice.object)
    transaction, _ = state.changes()
    if transaction:
        await nft.apply(transaction.render(state.settings))
    return time.perf_counter() - began


def counts(state: ProxyState) -> tuple[float, float]:
    names = [container.name for container in containers(state.settings) if not container.flags]
    with Nftables() as kernel:
        began = time.perf_counter()
        kernel.generation()
        checked = time.perf_counter()
        found = kernel.counts(state.settings.table, names)
        counted = time.perf_counter()
    assert found is not None
    elements = [place for place, _ in state.elements()]
    assert sum(found.elements.values()) == len(elements), (found, len(elements))
    assert found.rules == sum(len(chain.rules) for chain in (*state.chains.values(), *base_chains()))
    return checked - began, counted - checked


def in_own_process(size: int) -> list[float]:
    """A namespace and a process for each size, so that one's memory is not another's."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:
            os._exit(1)
        row = asyncio.run(measure(size))
        os.write(writer, " ".join(map(str, row)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as results:
        text = results.read()
    _, status = os.waitpid(child, 0)
    if status != 0 or not text:
        sys.exit(f"the measurement with {size} Services failed; are you root?")
    return [float(value) for value in text.split()]


def main(sizes: list[int]) -> None:
    print(" ".join(f"{name:>{width}}" for name, width in COLUMNS))
    for size in sizes:
        row = in_own_process(size)
        cells = [f"{row[0]:>{COLUMNS[0][1]},.0f}"]
        cells += [f"{value:>{width}.2f}" for value, (_, width) in zip(row[1:], COLUMNS[1:], strict=True)]
        print(" ".join(cells), flush=True)


if __name__ == "__main__":
    main([int(argument) for argument in sys.argv[1:]] or list(SIZES))
