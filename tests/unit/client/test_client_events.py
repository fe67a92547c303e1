from typing import Any

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import errors
from navarch.services.base.clock import VirtualClock
from navarch.services.client import events
from navarch.services.client.client import Client
from navarch.services.client.events import EventRecorder


def a_pod(name: str = "web") -> corev1.Pod:
    return corev1.Pod(metadata=metav1.ObjectMeta(namespace="default", name=name, uid=f"uid-{name}"))


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
async def recorder(client: Client, clock: VirtualClock) -> Any:
    recorder = EventRecorder(client, "kubelet", "node-1", clock)
    yield recorder
    await recorder.stop()


async def stored(client: Client) -> list[corev1.Event]:
    return (await client.list(corev1.Event)).items


async def test_an_event_says_what_happened_to_whom(client: Client, recorder: EventRecorder) -> None:
    recorder.event(a_pod(), "Warning", "BackOff", "Back-off restarting", field_path="spec.containers{web}")
    await recorder.flush()
    (event,) = await stored(client)
    about = event.involved_object
    assert (about.kind, about.api_version, about.namespace, about.name) == ("Pod", "v1", "default", "web")
    assert (about.uid, about.field_path) == ("uid-web", "spec.containers{web}")
    assert (event.type, event.reason, event.message, event.count) == ("Warning", "BackOff", "Back-off restarting", 1)
    assert (event.source.component, event.source.host) == ("kubelet", "node-1")
    assert event.metadata.namespace == "default"
    assert event.metadata.name.startswith("web.")


async def test_repeats_raise_the_count(client: Client, recorder: EventRecorder, clock: VirtualClock) -> None:
    for _ in range(3):
        recorder.event(a_pod(), "Normal", "Pulled", "present")
        await recorder.flush()
        clock.advance(10)
    recorder.event(a_pod(), "Normal", "Pulled", "other words")
    recorder.event(a_pod("db"), "Normal", "Pulled", "present")
    await recorder.flush()
    counts = sorted((event.involved_object.name, event.message, event.count) for event in await stored(client))
    assert counts == [("db", "present", 1), ("web", "other words", 1), ("web", "present", 3)]


async def test_repeats_before_the_first_was_sent_are_one_write(
    client: Client, recorder: EventRecorder, fake: Any
) -> None:
    for _ in range(5):
        recorder.event(a_pod(), "Normal", "Pulled", "present")
    await recorder.flush()
    assert [event.count for event in await stored(client)] == [5]
    assert fake.calls["Batch"] == 1


async def test_a_repeat_of_an_expired_event_is_made_anew(client: Client, recorder: EventRecorder, fake: Any) -> None:
    recorder.event(a_pod(), "Normal", "Pulled", "present")
    await recorder.flush()
    await fake.remove((await stored(client))[0])
    recorder.event(a_pod(), "Normal", "Pulled", "present")
    await recorder.flush()
    assert [event.count for event in await stored(client)] == [2]


async def test_a_busy_object_is_cut_short(client: Client, recorder: EventRecorder, clock: VirtualClock) -> None:
    for number in range(100):
        recorder.event(a_pod(), "Normal", "Busy", f"message {number}")
    recorder.event(a_pod("quiet"), "Normal", "Calm", "still heard")
    await recorder.flush()
    assert len(await stored(client)) == events.BURST + 1
    assert recorder.dropped == 100 - events.BURST
    clock.advance(events.REFILL_S)
    recorder.event(a_pod(), "Normal", "Busy", "later")
    await recorder.flush()
    assert len(await stored(client)) == events.BURST + 2


async def test_what_cannot_be_sent_waits_within_bounds(
    client: Client, recorder: EventRecorder, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "UNSENT_LIMIT", 3)
    fake.fail("Batch", errors.ServiceUnavailable("restarting"))
    for number in range(5):
        recorder.event(a_pod(f"pod-{number}"), "Normal", "Pulled", "present")
    with pytest.raises(errors.ServiceUnavailable):
        await recorder.flush()
    await recorder.flush()
    assert [event.involved_object.name for event in await stored(client)] == ["pod-2", "pod-3", "pod-4"]
    assert recorder.dropped == 2


async def test_a_refused_event_is_dropped_alone(client: Client, recorder: EventRecorder, fake: Any) -> None:
    async def refuse(request: Any) -> Any:
        raise errors.Forbidden("events", "x", "namespace is being terminated")

    create, fake._create = fake._create, refuse
    recorder.event(a_pod(), "Normal", "Killing", "stopping")
    await recorder.flush()
    fake._create = create
    assert (recorder.dropped, await stored(client)) == (1, [])


async def test_long_messages_are_cut_and_cluster_scoped_objects_use_the_default_namespace(
    client: Client, recorder: EventRecorder
) -> None:
    recorder.event(corev1.Node(metadata=metav1.ObjectMeta(name="n")), "Normal", "Long", "ä" * 2000)
    await recorder.flush()
    (event,) = await stored(client)
    assert event.metadata.namespace == "default"
    assert len(event.message.encode()) <= events.MESSAGE_BYTES
    assert event.message.endswith(" ...")
