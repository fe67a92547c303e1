"""Runs the probes of running containers, one task for each, and tells when a verdict changes.

Level-triggered: `sync` is given what runs now and starts and ends tasks accordingly.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from zlib import crc32

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.clock import Clock
from navarch.services.base.tasks import TaskOwner
from navarch.services.kubelet.actions import ActionError, port_number, run_exec, run_grpc, run_tcp
from navarch.services.kubelet.core.observed import RUNNING, Container
from navarch.services.kubelet.core.orders import Probed, ProbeKind
from navarch.services.kubelet.core.probing import DEFAULT_PERIOD_S, DEFAULT_TIMEOUT_S, ProbeState
from navarch.services.kubelet.core.view import View
from navarch.services.kubelet.happenings import Happenings
from navarch.services.kubelet.http_actions import probe_http
from navarch.services.kubelet.runtime import Runtime

# Of a probe that cannot be carried out.
TRIES = 3
# Told of each probe: the Pod, the container, what it is for, how long it took, whether it succeeded.
OnProbe = Callable[[corev1.Pod, str, ProbeKind, float, bool], None]


@dataclass(frozen=True, slots=True)
class _Subject:
    """What one probe is about."""

    pod: corev1.Pod
    container: corev1.Container
    run: Container
    kind: ProbeKind
    probe: corev1.Probe
    pod_ip: str


def probes_of(container: corev1.Container) -> dict[ProbeKind, corev1.Probe]:
    """The probes that a container has."""
    present = {
        ProbeKind.STARTUP: (container.startup_probe, container.HasField("startup_probe")),
        ProbeKind.LIVENESS: (container.liveness_probe, container.HasField("liveness_probe")),
        ProbeKind.READINESS: (container.readiness_probe, container.HasField("readiness_probe")),
    }
    return {kind: probe for kind, (probe, exists) in present.items() if exists}


def spread(id_: str) -> float:
    """A fraction of 1 that differs from id to id."""
    return crc32(id_.encode()) / (1 << 32)


class Prober:
    """The probes of one Pod."""

    def __init__(
        self,
        runtime: Runtime,
        clock: Clock,
        happenings: Happenings,
        host_ip: str,
        tell: Callable[[Probed], None],
        on_probe: OnProbe,
    ) -> None:
        self._on_probe = on_probe
        self._runtime = runtime
        self._clock = clock
        self._happenings = happenings
        self._host_ip = host_ip
        self._tell = tell
        self._tasks: dict[tuple[str, ProbeKind], asyncio.Task[None]] = {}
        self._owner = TaskOwner()

    def sync(self, view: View) -> None:
        """Have exactly the probes that what runs now calls for. A Pod that ends keeps only readiness."""
        wanted: dict[tuple[str, ProbeKind], _Subject] = {}
        box = view.runtime.ready_sandbox()
        pod_ip = self._host_ip if view.pod.spec.host_network else (box.ips[0] if box and box.ips else "")
        for container in [*view.pod.spec.init_containers, *view.pod.spec.containers]:
            probes = probes_of(container)
            run = view.runtime.latest(container.name) if probes else None
            if run is None or run.state != RUNNING or run.name in view.starting:
                continue
            for kind, probe in probes.items():
                if self._is_due(view, container, run, kind):
                    wanted[run.id, kind] = _Subject(view.pod, container, run, kind, probe, pod_ip)
        for key in self._tasks.keys() - wanted.keys():
            self._tasks.pop(key).cancel()
        for key, subject in wanted.items():
            if key not in self._tasks:
                self._tasks[key] = self._owner.spawn(self._keep_probing(subject), f"probe-{subject.kind}")

    @staticmethod
    def _is_due(view: View, container: corev1.Container, run: Container, kind: ProbeKind) -> bool:
        if kind == ProbeKind.STARTUP:
            return not view.ending and not view.started(container, run)
        return view.started(container, run) and (kind == ProbeKind.READINESS or not view.ending)

    async def stop(self) -> None:
        """End all probes."""
        await self._owner.close()

    async def _keep_probing(self, subject: _Subject) -> None:
        state = ProbeState.of(subject.probe)
        period_s = float(subject.probe.period_seconds or DEFAULT_PERIOD_S)
        age_s = self._clock.now() - subject.run.started_at
        await self._clock.sleep(max(0.0, subject.probe.initial_delay_seconds - max(0.0, age_s)))
        if age_s > period_s:
            # This kubelet has just come up: the probes of all that runs are not to fall on one moment.
            await self._clock.sleep(spread(subject.run.id) * period_s)
        while True:
            try:
                healthy = await self._measure(subject)
            except ActionError as error:
                # Nothing is known: neither a success nor a failure.
                self._tell_of(subject, "Unhealthy", f"probe errored and resulted in unknown state: {error}")
            else:
                if state.result(healthy):
                    self._tell(Probed(subject.run.id, subject.kind, healthy))
                    if not healthy and subject.kind != ProbeKind.READINESS:
                        # The run is ended for it; what else it fails does not matter.
                        return
            await self._clock.sleep(period_s)

    async def _measure(self, subject: _Subject) -> bool:
        """Probe once. Raises ActionError when it could not be done."""
        began = self._clock.monotonic()
        failure = await self._try(subject)
        seconds = self._clock.monotonic() - began
        self._on_probe(subject.pod, subject.run.name, subject.kind, seconds, failure is None)
        if failure is not None:
            self._tell_of(subject, "Unhealthy", f"probe failed: {failure}")
        return failure is None

    async def _try(self, subject: _Subject) -> str | None:
        for _ in range(TRIES - 1):
            try:
                return await self._probe(subject)
            except ActionError:
                continue
        return await self._probe(subject)

    def _warn(self, subject: _Subject, warning: str) -> None:
        self._tell_of(subject, "ProbeWarning", f"probe warning: {warning}")

    def _tell_of(self, subject: _Subject, reason: str, message: str) -> None:
        name = subject.kind.capitalize()
        self._happenings.tell(subject.pod, "Warning", reason, f"{name} {message}", subject.run.name)

    async def _probe(self, subject: _Subject) -> str | None:
        handler, container = subject.probe.handler, subject.container
        timeout_s = subject.probe.timeout_seconds or DEFAULT_TIMEOUT_S
        if handler.HasField("exec"):
            return await run_exec(self._runtime, subject.run.id, list(handler.exec.command), timeout_s)
        if handler.HasField("http_get"):
            port = port_number(container, handler.http_get.port)
            return await probe_http(handler.http_get, subject.pod_ip, port, timeout_s, partial(self._warn, subject))
        if handler.HasField("tcp_socket"):
            host = handler.tcp_socket.host or subject.pod_ip
            return await run_tcp(host, port_number(container, handler.tcp_socket.port), timeout_s)
        if handler.HasField("grpc"):
            return await run_grpc(subject.pod_ip, handler.grpc.port, handler.grpc.service, timeout_s)
        return None
