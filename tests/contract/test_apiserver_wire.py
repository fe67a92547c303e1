"""The answers that the API server puts together by hand are what the contract says."""

from typing import Any

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.protos.navarch import objects_pb2
from navarch.services.api.kinds import KINDS
from navarch.services.apiserver.cacher.events import EventType, WatchEvent
from navarch.services.apiserver.doors.grpc import wire
from navarch.services.apiserver.registry.history import Revision
from navarch.services.apiserver.registry.list import ObjectList
from navarch.services.apiserver.stored import StoredObject

CONFIG_MAP = KINDS.of(corev1.ConfigMap)


def stored(name: str, size_bytes: int = 1) -> StoredObject:
    message = corev1.ConfigMap(data={"k": "x" * size_bytes})
    message.metadata.name, message.metadata.namespace = name, "default"
    return StoredObject.of_message(CONFIG_MAP, message, 7)


def same(encoded: bytes, expected: Any) -> bool:
    return bool(encoded == expected.SerializeToString() and type(expected).FromString(encoded) == expected)


# Sizes around each step of the length's own length.
@pytest.mark.parametrize("size_bytes", [0, 1, 60, 100, 127, 128, 16_300, 16_400, 3_000_000])
def test_object_response(size_bytes: int) -> None:
    one = stored("a", size_bytes)
    expected = objects_pb2.ObjectResponse(warnings=["careful", "ü"])
    expected.object.Pack(one.message)
    assert same(wire.object_response(one, ["careful", "ü"]), expected)


def test_object_response_of_a_message() -> None:
    status = metav1.Status(status="Success", code=201)
    expected = objects_pb2.ObjectResponse()
    expected.object.Pack(status)
    assert same(wire.object_response(status), expected)


@pytest.mark.parametrize(
    "page",
    [
        ObjectList([], 5),
        ObjectList([stored("a"), stored("b", 500)], 123456789012, "token", 0),
        ObjectList([stored("a")], 5, "", 300),
    ],
    ids=["empty", "page", "remaining"],
)
def test_list_response(page: ObjectList) -> None:
    expected = objects_pb2.ListResponse(resource_version=str(page.revision), continue_token=page.continue_token)
    if page.remaining is not None:
        expected.remaining_item_count = page.remaining
    for one in page.items:
        expected.items.add().Pack(one.message)
    assert same(wire.list_response(page), expected)


def test_watch_response() -> None:
    events = [WatchEvent(EventType(number), stored(f"a{number}", number * 100)) for number in (1, 2, 3, 4)]
    expected = objects_pb2.WatchResponse()
    for event in events:
        expected.events.add(type=int(event.type)).object.Pack(event.stored.message)
    (response,) = wire.watch_responses(events)
    assert same(response, expected)
    (first,), (again,) = wire.watch_responses(events[:1]), wire.watch_responses(events[:1])
    assert first is again


def test_many_events_come_in_messages_that_any_client_takes() -> None:
    events = [WatchEvent(EventType.ADDED, stored(f"a{number}", 1_000_000)) for number in range(7)]
    responses = [objects_pb2.WatchResponse.FromString(response) for response in wire.watch_responses(events)]
    assert [len(response.events) for response in responses] == [2, 2, 2, 1]
    assert [event.object.value for response in responses for event in response.events] == [
        event.stored.raw for event in events
    ]


def test_error_response() -> None:
    status = metav1.Status(status="Failure", code=410, reason="Expired")
    expected = objects_pb2.WatchResponse()
    expected.events.add(type=objects_pb2.WatchEvent.ERROR).object.Pack(status)
    assert same(wire.error_response(status), expected)


def test_event_types_are_numbered_alike() -> None:
    assert {event.name: int(event) for event in EventType} == {
        name: number
        for name, number in objects_pb2.WatchEvent.Type.items()
        if name not in ("TYPE_UNSPECIFIED", "ERROR")
    }


def test_history_responses() -> None:
    first = stored("a")
    expected = objects_pb2.HistoryResponse()
    expected.revisions.add(revision=5, unix_seconds=1_700_000_000).object.Pack(first.message)
    expected.revisions.add(revision=300)
    (encoded,) = wire.history_responses([Revision(5, 1_700_000_000.9, first), Revision(300, 0.0, None)])
    assert objects_pb2.HistoryResponse.FromString(encoded) == expected
    assert list(wire.history_responses([])) == []


def test_a_long_history_takes_several_responses() -> None:
    revisions = [Revision(number, 0.0, stored("a", 900_000)) for number in range(5)]
    found = [objects_pb2.HistoryResponse.FromString(one) for one in wire.history_responses(revisions)]
    assert len(found) > 1
    assert [one.revision for response in found for one in response.revisions] == list(range(5))
