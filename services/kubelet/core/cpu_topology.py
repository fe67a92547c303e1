"""The CPUs of a host: which of them share a core, a NUMA node and a socket, and which to take together. Pure.

CPUs that share more are faster together: whole sockets are taken first, then whole NUMA nodes, then whole cores, then
single CPUs; each from where the fewest are left, so that large pieces stay whole. Source: KEP-375.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cpu:
    """A logical CPU. core: of the whole host, one number for all CPUs that share it."""

    id: int
    core: int
    socket: int = 0
    numa_node: int = 0


Place = Callable[[Cpu], tuple[int, ...]]


def _socket(cpu: Cpu) -> tuple[int, ...]:
    return (cpu.socket,)


def _numa_node(cpu: Cpu) -> tuple[int, ...]:
    return (cpu.numa_node,)


def _core(cpu: Cpu) -> tuple[int, ...]:
    return (cpu.socket, cpu.core)


class NotEnoughCpus(Exception):
    """Fewer are free than are wanted."""

    def __init__(self, requested: int, available: int) -> None:
        super().__init__(f"not enough cpus available to satisfy request: requested={requested}, available={available}")


class Topology:
    """All CPUs of a host that are online."""

    def __init__(self, cpus: Iterable[Cpu]) -> None:
        self._cpus = {cpu.id: cpu for cpu in cpus}
        self.all = frozenset(self._cpus)

    @property
    def cpus_per_core(self) -> int:
        """How many share a core; of cores that differ, the most."""
        return max((len(cpus) for cpus in self._places(_core, self.all).values()), default=1)

    def of_whole_cores(self, free: Collection[int]) -> frozenset[int]:
        """Those of the free CPUs whose whole core is free."""
        return frozenset(cpu for whole in self._whole(_core, free) for cpu in whole)

    def take(self, free: Collection[int], count: int) -> frozenset[int]:
        """As many of the free CPUs as are wanted. Raises NotEnoughCpus."""
        if count > len(free):
            raise NotEnoughCpus(count, len(free))
        left, taken = set(free), set[int]()
        for place in (_socket, _numa_node, _core):
            for whole in sorted(self._whole(place, left), key=lambda whole: self._rank(min(whole), left, taken)):
                if len(whole) <= count - len(taken):
                    taken |= whole
                    left -= whole
        while len(taken) < count:
            cpu = min(left, key=lambda cpu: self._rank(cpu, left, taken))
            taken.add(cpu)
            left.remove(cpu)
        return frozenset(taken)

    def _rank(self, id_: int, left: Collection[int], taken: Collection[int]) -> tuple[int, ...]:
        """Which to take first: beside those that are taken already, then where the fewest are left."""
        cpu = self._cpus[id_]
        places: tuple[Place, ...] = (_socket, _numa_node, _core)
        beside = [-sum(place(self._cpus[other]) == place(cpu) for other in taken) for place in places]
        around = [sum(place(self._cpus[other]) == place(cpu) for other in left) for place in places]
        return (*[number for pair in zip(beside, around, strict=True) for number in pair], cpu.core, id_)

    def _whole(self, place: Place, free: Collection[int]) -> list[set[int]]:
        """The places whose CPUs are all free."""
        return [cpus for cpus in self._places(place, self.all).values() if cpus <= set(free)]

    def _places(self, place: Place, cpus: Iterable[int]) -> dict[tuple[int, ...], set[int]]:
        found: defaultdict[tuple[int, ...], set[int]] = defaultdict(set)
        for id_ in cpus:
            found[place(self._cpus[id_])].add(id_)
        return found
