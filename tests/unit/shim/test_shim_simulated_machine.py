"""Any order of calls and of passing time leaves a simulated host in order.

States only go forward, the events told add up to what the lists say, and nobody who has gone keeps a timer, a name or
an address.
"""

import asyncio
from collections.abc import Coroutine
from itertools import count
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import errors
from navarch.runtime_shim.simulated.backend import SimulatedBackend
from navarch.runtime_shim.simulated.behavior import PREFIX
from navarch.services.base.clock import VirtualClock, settle

T = TypeVar("T")
Event = criv1.ContainerEventType
IMAGE = criv1.ImageSpec(image="app:1")
# What may follow on what was told of a container or a sandbox. None: nothing yet.
FOLLOWS = {
    None: {Event.CONTAINER_CREATED_EVENT},
    # A start that failed is told by its end only.
    Event.CONTAINER_CREATED_EVENT: {
        Event.CONTAINER_STARTED_EVENT,
        Event.CONTAINER_STOPPED_EVENT,
        Event.CONTAINER_DELETED_EVENT,
    },
    Event.CONTAINER_STARTED_EVENT: {Event.CONTAINER_STOPPED_EVENT},
    Event.CONTAINER_STOPPED_EVENT: {Event.CONTAINER_DELETED_EVENT},
    Event.CONTAINER_DELETED_EVENT: set(),
}
STATES = {
    Event.CONTAINER_CREATED_EVENT: criv1.ContainerState.CONTAINER_CREATED,
    Event.CONTAINER_STARTED_EVENT: criv1.ContainerState.CONTAINER_RUNNING,
    Event.CONTAINER_STOPPED_EVENT: criv1.ContainerState.CONTAINER_EXITED,
}
TIMERS = ("exit-after-seconds", "oom-after-seconds")
BEHAVIORS = st.fixed_dictionaries(
    {},
    optional={
        "start-delay-seconds": st.sampled_from(["0", "2", "5"]),
        "start-error": st.sampled_from(["", "no such file"]),
        "exit-after-seconds": st.sampled_from(["0", "3", "5"]),
        "oom-after-seconds": st.sampled_from(["3", "4"]),
        "ignore-sigterm": st.sampled_from(["true", "false"]),
    },
)


class SimulatedHost(RuleBasedStateMachine):
    """Calls of kubelets that don't wait for one another."""

    sandboxes = Bundle("sandboxes")
    containers = Bundle("containers")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = VirtualClock()
        numbers = count(1)
        # Eight addresses, of which three are not for Pods; there are more names.
        self.backend = SimulatedBackend("10.0.0.0/29", self.clock, lambda: f"{next(numbers):064}")
        self.runtime = self.backend.runtime
        self.calls: set[asyncio.Task[Any]] = set()
        self.told: dict[str, criv1.ContainerEventType | None] = {}
        self.reader = self.loop.create_task(self._read())
        self.run(self.backend.images.pull_image(criv1.PullImageRequest(image=IMAGE)))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        async def settled() -> T:
            result = await work
            await settle()
            return result

        return self.loop.run_until_complete(settled())

    def call(self, work: Coroutine[Any, Any, Any]) -> None:
        """Let it go on beside what comes next."""
        task = self.loop.create_task(work)
        self.calls.add(task)
        self.run(settle())

    def teardown(self) -> None:
        async def end() -> None:
            self.reader.cancel()
            await self.backend.stop()
            for call in self.calls:
                call.cancel()
            await asyncio.gather(self.reader, *self.calls, return_exceptions=True)

        self.loop.run_until_complete(end())
        self.loop.close()

    async def _read(self) -> None:
        async for event in self.runtime.get_container_events(criv1.GetEventsRequest()):
            kind, changed = event.container_event_type, event.container_id
            assert kind in FOLLOWS[self.told.get(changed)], (changed, self.told.get(changed), kind)
            self.told[changed] = kind

    @rule(target=sandboxes, name=st.sampled_from("abcdefg"), behavior=BEHAVIORS)
    def run_sandbox(self, name: str, behavior: dict[str, str]) -> Any:
        config = criv1.PodSandboxConfig(
            metadata=criv1.PodSandboxMetadata(name=name, namespace="default", uid=name),
            annotations={PREFIX + key: text for key, text in behavior.items()},
        )
        is_taken = name in {one.record.config.metadata.name for one in self.runtime._pods.sandboxes.values()}
        used = [ip for one in self.runtime._pods.sandboxes.values() if one.ready for ip in one.record.ips]
        try:
            made = self.run(self.runtime.run_pod_sandbox(criv1.RunPodSandboxRequest(config=config)))
        except errors.AlreadyExists:
            assert is_taken
            return multiple()
        except errors.ResourceExhausted:
            assert (len(used), is_taken) == (5, False)
            return multiple()
        assert not is_taken
        return made.pod_sandbox_id

    @rule(target=containers, sandbox=sandboxes, name=st.sampled_from("xy"))
    def create(self, sandbox: str, name: str) -> Any:
        found = self.runtime._pods.sandboxes.get(sandbox)
        is_ready = found is not None and found.ready
        is_taken = found is not None and name in {one.record.config.metadata.name for one in found.containers.values()}
        config = criv1.ContainerConfig(metadata=criv1.ContainerMetadata(name=name), image=IMAGE)
        request = criv1.CreateContainerRequest(pod_sandbox_id=sandbox, config=config)
        try:
            made = self.run(self.runtime.create_container(request))
        except errors.AlreadyExists:
            assert (is_ready, is_taken) == (True, True)
            return multiple()
        except (errors.NotFound, errors.FailedPrecondition):
            assert not is_ready
            return multiple()
        assert (is_ready, is_taken) == (True, False)
        return made.container_id

    @rule(container=containers)
    def start(self, container: str) -> None:
        self.call(self.runtime.start_container(criv1.StartContainerRequest(container_id=container)))

    @rule(container=containers, timeout=st.sampled_from([0, 1, 10]))
    def stop(self, container: str, timeout: int) -> None:
        self.call(self.runtime.stop_container(criv1.StopContainerRequest(container_id=container, timeout=timeout)))

    @rule(container=containers)
    def remove(self, container: str) -> None:
        self.run(self.runtime.remove_container(criv1.RemoveContainerRequest(container_id=container)))
        assert container not in self.runtime._pods.containers

    @rule(sandbox=sandboxes)
    def stop_sandbox(self, sandbox: str) -> None:
        self.run(self.runtime.stop_pod_sandbox(criv1.StopPodSandboxRequest(pod_sandbox_id=sandbox)))

    @rule(sandbox=consumes(sandboxes))
    def remove_sandbox(self, sandbox: str) -> None:
        self.run(self.runtime.remove_pod_sandbox(criv1.RemovePodSandboxRequest(pod_sandbox_id=sandbox)))
        assert sandbox not in self.runtime._pods.sandboxes

    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        """A client goes away."""
        if waiting := sorted((call for call in self.calls if not call.done()), key=lambda call: call.get_name()):
            data.draw(st.sampled_from(waiting)).cancel()
            self.run(settle())

    @rule(seconds=st.sampled_from([1, 2, 5, 20]))
    def wait(self, seconds: int) -> None:
        self.run(self.clock.elapse(seconds))

    @invariant()
    def calls_end_as_the_contract_says(self) -> None:
        for call in [call for call in self.calls if call.done()]:
            self.calls.discard(call)
            if not call.cancelled():
                refusal = call.exception()
                expected = (errors.NotFound, errors.FailedPrecondition, errors.RuntimeFailure, type(None))
                assert isinstance(refusal, expected), refusal

    @invariant()
    def events_and_lists_agree(self) -> None:
        if self.reader.done():
            self.reader.result()
        containers = self.run(self.runtime.list_containers(criv1.ListContainersRequest())).containers
        sandboxes = self.run(self.runtime.list_pod_sandbox(criv1.ListPodSandboxRequest())).items
        listed = {one.id: one.state for one in containers}
        listed |= {
            one.id: criv1.ContainerState.CONTAINER_EXITED
            if one.state == criv1.PodSandboxState.SANDBOX_NOTREADY
            else criv1.ContainerState.CONTAINER_RUNNING
            for one in sandboxes
        }
        assert listed == {key: STATES[kind] for key, kind in self.told.items() if kind in STATES}
        ready = {one.id for one in sandboxes if one.state == criv1.PodSandboxState.SANDBOX_READY}
        assert {
            one.pod_sandbox_id for one in containers if one.state == criv1.ContainerState.CONTAINER_RUNNING
        } <= ready

    @invariant()
    def addresses_are_of_one_sandbox_each(self) -> None:
        taken = [ip for one in self.runtime._pods.sandboxes.values() if one.ready for ip in one.record.ips]
        assert len(taken) == len(set(taken))

    @invariant()
    def who_has_gone_keeps_nothing(self) -> None:
        pods = self.runtime._pods
        timers = [
            key
            for one in pods.containers.values()
            if one.runs
            for key in TIMERS
            if PREFIX + key in one.sandbox.record.config.annotations
        ]
        assert len(self.runtime._timers) == len(timers)
        assert len(pods._names) == len(pods.sandboxes)
        assert all(len(one.names) == len(one.containers) for one in pods.sandboxes.values())
        assert sum(len(one.containers) for one in pods.sandboxes.values()) == len(pods.containers)


SimulatedHost.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestSimulatedHost = SimulatedHost.TestCase
