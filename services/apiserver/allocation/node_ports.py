"""Node ports: one bit each in the RangeAllocation object that Kubernetes keeps for them."""

import random
from collections.abc import Awaitable, Callable
from typing import Any

from navarch.protos.etcd import rpc_pb2
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import envelope
from navarch.services.api.errors import FieldError, InternalError, Invalid
from navarch.services.api.kinds import KINDS
from navarch.services.api.strategies.services import needs_health_port, needs_node_ports
from navarch.services.apiserver.storage.objects import Extra, ExtraOutdated, ObjectStorage
from navarch.services.apiserver.stored import StoredObject

SERVICE = KINDS.of(corev1.Service)
KEY = "/registry/ranges/servicenodeports"
# Ports of this much of the range are only given to those who ask for them by number, while there are others (KEP-3668).
RESERVED_SHARE, RESERVED_MIN, RESERVED_MAX = 32, 16, 128
REPAIR_ATTEMPTS = 8


def node_ports_of(service: Any | None) -> set[int]:
    """The node ports that a Service holds."""
    if service is None or service.spec.type not in ("NodePort", "LoadBalancer"):
        return set()
    ports = {port.node_port for port in service.spec.ports} | {service.spec.health_check_node_port}
    return ports - {0}


class NodePorts:
    """Chooses node ports out of a range."""

    def __init__(self, storage: ObjectStorage, ports: range, rng: random.Random) -> None:
        self._storage = storage
        self._range = ports
        self._rng = rng

    async def allocate(self, new: Any, old: Any | None) -> list[Extra]:
        """Fill in the node ports of a Service. Returns what is to be written along.

        Raises Invalid, and InternalError where no port is left or that of health checks cannot be had (as Kubernetes).
        """
        held = node_ports_of(old)
        if new.spec.type not in ("NodePort", "LoadBalancer"):
            for port in new.spec.ports:
                port.ClearField("node_port")
            return await self._change(set(), held)
        open_ports = [port for port in new.spec.ports if not port.node_port] if needs_node_ports(new.spec) else []
        needs_health = needs_health_port(new.spec) and not new.spec.health_check_node_port
        if node_ports_of(new) == held and not open_ports and not needs_health:
            return []
        bits, revision = await self._read()
        taken = self._explicit(new, held, bits)
        # A new Service has one node port for all protocols of one port, as in Kubernetes.
        shared = {port.port: port.node_port for port in new.spec.ports if port.node_port} if old is None else {}
        for port in open_ports:
            port.node_port = shared.get(port.port) or self._pick(bits, taken)
            taken.add(port.node_port)
            if old is None:
                shared.setdefault(port.port, port.node_port)
        if needs_health:
            new.spec.health_check_node_port = self._pick(bits, taken)
        now = node_ports_of(new)
        return self._written(bits, revision, now - held, held - now)

    async def release(self, old: Any) -> list[Extra]:
        """What is to be written along when a Service is removed."""
        return await self._change(set(), node_ports_of(old))

    async def repair(self, read_services: Callable[[], Awaitable[tuple[list[StoredObject], int]]]) -> None:
        """Make the bits those of the stored Services."""
        for _ in range(REPAIR_ATTEMPTS):
            bits, revision = await self._read()
            services, _ = await read_services()
            right = 0
            for stored in services:
                for port in node_ports_of(stored.decode()):
                    right |= self._bit(port)
            if right == bits and revision:
                return
            try:
                await self._storage.commit_extra(self._extra(right, revision))
            except ExtraOutdated:
                continue
            return

    async def _change(self, taken: set[int], freed: set[int]) -> list[Extra]:
        if not taken and not freed:
            return []
        bits, revision = await self._read()
        return self._written(bits, revision, taken, freed)

    def _explicit(self, service: Any, held: set[int], bits: int) -> set[int]:
        wanted = node_ports_of(service)
        for index, port in enumerate(service.spec.ports):
            number = port.node_port
            problem = self._problem(number, held, bits)
            if problem:
                wrong = FieldError.invalid(f"spec.ports[{index}].nodePort", number, problem)
                raise Invalid(SERVICE, service.metadata.name, [wrong])
        number = service.spec.health_check_node_port
        problem = self._problem(number, held, bits)
        if problem:
            raise InternalError(f"failed to allocate requested HealthCheck NodePort {number}: {problem}")
        return wanted

    def _problem(self, number: int, held: set[int], bits: int) -> str:
        """Why a Service cannot have a port that it names; 0 names none."""
        if not number or number in held:
            return ""
        if number not in self._range:
            return f"provided port is not in the valid range. The range of valid ports is {self._describe()}"
        return "provided port is already allocated" if bits & self._bit(number) else ""

    def _pick(self, bits: int, taken: set[int]) -> int:
        size = len(self._range)
        low = min(max(RESERVED_MIN, size // RESERVED_SHARE), RESERVED_MAX) if size > RESERVED_MIN else 0
        for candidates in (self._range[low:], self._range[:low]):
            free = [port for port in candidates if not bits & self._bit(port) and port not in taken]
            if free:
                return self._rng.choice(free)
        raise InternalError("failed to allocate a nodePort: range is full")

    async def _read(self) -> tuple[int, int]:
        """The bits, and the revision they were written at (0: never)."""
        answer = await self._storage.etcd.range(rpc_pb2.RangeRequest(key=KEY.encode()))
        if not answer.kvs:
            return 0, 0
        allocation: Any = envelope.decode(answer.kvs[0].value, corev1.RangeAllocation)
        revision = answer.kvs[0].mod_revision
        # Bits of another range mean other ports; the repair at start writes ours.
        return (int.from_bytes(allocation.data), revision) if allocation.range == self._describe() else (0, revision)

    def _written(self, bits: int, revision: int, taken: set[int], freed: set[int]) -> list[Extra]:
        for port in taken:
            bits |= self._bit(port)
        for port in freed:
            bits &= ~self._bit(port)
        return [self._extra(bits, revision)]

    def _extra(self, bits: int, revision: int) -> Extra:
        data = bits.to_bytes((bits.bit_length() + 7) // 8)
        allocation = corev1.RangeAllocation(range=self._describe(), data=data)
        return Extra(KEY, envelope.encode(allocation), revision)

    def _bit(self, port: int) -> int:
        return 1 << (port - self._range.start) if port in self._range else 0

    def _describe(self) -> str:
        return f"{self._range.start}-{self._range.stop - 1}"
