"""Which containers have CPUs of their own, and which CPUs all others share: the policy `static` (KEP-375). Pure.

A container of a Guaranteed Pod that requests a whole number of CPUs gets so many, and nobody else runs on them until
its Pod ends. All other containers share the pool: what is left, the reserved CPUs among it. With `strict` nobody but
the host runs on those. Init containers end before the containers after them start, so these get the same CPUs; a
sidecar keeps its own. A Pod that says its resources as a whole is not served: it shares.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.pod_resources import amounts
from navarch.services.kubelet.core.cpu_lists import write_cpus
from navarch.services.kubelet.core.cpu_topology import NotEnoughCpus, Topology
from navarch.services.kubelet.core.events_text import REJECTED
from navarch.services.kubelet.core.orders import Rejected
from navarch.services.kubelet.core.qos import GUARANTEED, qos_class
from navarch.services.kubelet.core.restart import is_sidecar

# By uid of the Pod and name of the container.
Assignments = Mapping[tuple[str, str], frozenset[int]]


class InvalidCpuState(ValueError):
    """What is on disk does not fit this host or its options."""


class UnalignedCpus(Exception):
    """Whole cores cannot be had."""


@dataclass(frozen=True, slots=True)
class CpuRules:
    """What the host keeps, and how CPUs are given. whole_cores: full-pcpus-only. strict: strict-cpu-reservation."""

    reserved: frozenset[int]
    whole_cores: bool = False
    strict: bool = False


class ExclusiveCpus:
    """The CPUs of one node."""

    def __init__(self, topology: Topology, rules: CpuRules) -> None:
        self._topology = topology
        self._rules = rules
        self._assigned: dict[tuple[str, str], frozenset[int]] = {}

    @property
    def assigned(self) -> Assignments:
        """Who has which CPUs."""
        return self._assigned

    @property
    def shared(self) -> frozenset[int]:
        """The pool: what is left."""
        kept = self._rules.reserved if self._rules.strict else frozenset[int]()
        return self._topology.all - kept - self._taken()

    @property
    def pool(self) -> frozenset[int]:
        """Where all others run. A strict reservation may leave nothing: rather there then than on what others own."""
        return self.shared or self._rules.reserved

    @property
    def allocatable(self) -> frozenset[int]:
        """What containers can have of their own at most."""
        return self._topology.all - self._rules.reserved

    def _taken(self) -> frozenset[int]:
        return frozenset[int]().union(*self._assigned.values())

    def restore(self, shared: frozenset[int], assigned: Assignments) -> None:
        """Go on from what a kubelet before has written. Raises InvalidCpuState."""
        reserved = self._rules.reserved
        if self._rules.strict and shared & reserved:
            raise InvalidCpuState(
                f'some of strictly reserved cpus: "{write_cpus(shared & reserved)}" are present in '
                f'defaultCpuSet: "{write_cpus(shared)}"'
            )
        if not self._rules.strict and not reserved <= shared:
            raise InvalidCpuState(
                f'not all reserved cpus: "{write_cpus(reserved)}" are present in defaultCpuSet: "{write_cpus(shared)}"'
            )
        for (uid, container), cpus in assigned.items():
            if cpus & shared:
                raise InvalidCpuState(
                    f'pod: {uid}, container: {container} cpuset: "{write_cpus(cpus)}" overlaps with '
                    f'default cpuset "{write_cpus(shared)}"'
                )
        known = shared.union(*assigned.values()) | (reserved if self._rules.strict else frozenset())
        if known != self._topology.all:
            raise InvalidCpuState(
                f'current set of available CPUs "{write_cpus(self._topology.all)}" doesn\'t match with '
                f'CPUs in state "{write_cpus(known)}"'
            )
        self._assigned = dict(assigned)

    def of(self, uid: str, container: str) -> frozenset[int]:
        """The CPUs that a container has of its own; none for one that shares."""
        return self._assigned.get((uid, container), frozenset())

    def give(self, pod: corev1.Pod) -> Rejected | None:
        """Give a Pod's containers what they ask for; the refusal when they cannot have it, and then they have none."""
        before = dict(self._assigned)
        try:
            self._give_all(pod)
        except NotEnoughCpus as failure:
            self._assigned = before
            message = f"{REJECTED}Allocate failed due to {failure}, which is unexpected"
            return Rejected("UnexpectedAdmissionError", message)
        except UnalignedCpus as failure:
            self._assigned = before
            return Rejected("SMTAlignmentError", f"{REJECTED}SMT Alignment Error: {failure}")
        return None

    def _give_all(self, pod: corev1.Pod) -> None:
        reusable: frozenset[int] = frozenset()
        for container in pod.spec.init_containers:
            cpus = self._give(pod, container, reusable)
            reusable = reusable - cpus if is_sidecar(container) else reusable | cpus
        for container in pod.spec.containers:
            reusable -= self._give(pod, container, reusable)

    def _give(self, pod: corev1.Pod, container: corev1.Container, reusable: frozenset[int]) -> frozenset[int]:
        key = (pod.metadata.uid, container.name)
        if (count := exclusive_cpus(pod, container)) and key not in self._assigned:
            free = self.shared - self._rules.reserved
            if self._rules.whole_cores:
                free = self._whole_cores(free, reusable, count)
            if count > len(free | reusable):
                raise NotEnoughCpus(count, len(free | reusable))
            again = self._topology.take(reusable, min(count, len(reusable)))
            self._assigned[key] = again | self._topology.take(free, count - len(again))
        return self.of(*key)

    def _whole_cores(self, free: frozenset[int], reusable: frozenset[int], count: int) -> frozenset[int]:
        """Those of the free CPUs that are whole cores. Raises UnalignedCpus."""
        per_core = self._topology.cpus_per_core
        if count % per_core:
            raise UnalignedCpus(f"requested {count} cpus not multiple cpus per core = {per_core}")
        whole = self._topology.of_whole_cores(free)
        if (available := len(whole | reusable)) < count:
            raise UnalignedCpus(
                f"not enough free physical CPUs: available physical CPUs = {available}, "
                f"requested CPUs = {count}, CPUs per core = {per_core}"
            )
        return whole

    def release(self, ended: Callable[[str], bool]) -> bool:
        """Take back the CPUs of the Pods that have ended, by their uids. Returns whether there were any."""
        gone = [key for key in self._assigned if ended(key[0])]
        for key in gone:
            del self._assigned[key]
        return bool(gone)

    def check_invariants(self) -> None:
        """Raises AssertionError when a CPU is not where it belongs."""
        by_pod: dict[str, frozenset[int]] = {}
        for (uid, _), cpus in self._assigned.items():
            by_pod[uid] = by_pod.get(uid, frozenset()) | cpus
        if sum(map(len, by_pod.values())) != len(self._taken()):
            raise AssertionError(f"a CPU is given to two Pods: {by_pod}")
        if self._taken() & (self._rules.reserved | self.shared):
            raise AssertionError(f"a CPU is given that is reserved or shared: {self._assigned}")
        if not self._rules.strict and not self._rules.reserved <= self.shared:
            raise AssertionError(f"the pool lacks reserved CPUs: {self.shared}")


def exclusive_cpus(pod: corev1.Pod, container: corev1.Container) -> int:
    """How many CPUs a container is to have of its own; 0 for one that shares."""
    if qos_class(pod) != GUARANTEED or pod.spec.HasField("resources"):
        return 0
    whole, rest = divmod(amounts(container.resources.requests).get("cpu", 0), 1000)
    return 0 if rest else whole


def reserved_cpus(topology: Topology, named: frozenset[int], millicores: int) -> frozenset[int]:
    """The CPUs of the host: those that are named, or as many as are reserved, rounded up, from the first core on."""
    return named or topology.take(topology.all, min(-(-millicores // 1000), len(topology.all)))
