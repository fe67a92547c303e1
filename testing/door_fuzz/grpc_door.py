"""The native door met with messages that are no messages, and objects that are none of their kind."""

import json
import random
from collections.abc import Sequence
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage

from navarch.protos.navarch import objects_pb2
from navarch.services.api.kinds import TYPE_URL_PREFIX
from navarch.testing.door_fuzz import mutation
from navarch.testing.door_fuzz.seeds import Seed
from navarch.testing.door_fuzz.subject import Subject
from navarch.testing.door_fuzz.tally import Turn

# Faults of the server, which no request may be answered with.
_FAULTS = frozenset({grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS})
_UNARY = ("Get", "List", "Create", "Update", "Patch", "Delete", "DeleteCollection", "Batch")
_STREAMS = ("Watch", "History")
_OTHERS = ("/navarch.v1.Objects/Nothing", "/", "/grpc.health.v1.Health/Check", "/x/y/z", "/navarch.v1.Node/Exec")
_PATIENCE_S = 10.0
_BATCH = 300


async def messages(subject: Subject, seeds: Sequence[Seed], turn: Turn) -> None:
    """Go on until the end of the turn."""
    stored = [seed for seed in seeds if seed.kind is not None]
    async with subject.channel() as channel:
        while turn.goes_on():
            method, data = _request(turn.rng, stored)
            path = turn.rng.choice(_OTHERS) if turn.rng.random() < 0.01 else f"/navarch.v1.Objects/{method}"
            await _call(channel, path, method in _STREAMS, data, turn)


async def _call(channel: grpc.aio.Channel, path: str, streams: bool, data: bytes, turn: Turn) -> None:
    try:
        if streams:
            stream: Any = channel.unary_stream(path)
            async for _ in stream(data, timeout=0.05):
                pass
        else:
            method: Any = channel.unary_unary(path)
            await method(data, timeout=_PATIENCE_S)
        turn.tally.count("OK")
    except grpc.aio.AioRpcError as failure:
        turn.tally.count(failure.code().name)
        # A revision of the future is waited for, a while.
        late = failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED and failure.details() == "Deadline Exceeded"
        # What gRPC itself answers where a method does not look at the bytes before.
        undecoded = (failure.details() or "").startswith("Exception deserializing request!")
        if (failure.code() in _FAULTS and not undecoded) or (late and not streams):
            turn.tally.find(failure.code().name, failure.details() or "", path, data)


def _request(rng: random.Random, seeds: Sequence[Seed]) -> tuple[str, bytes]:
    method = rng.choice((*_UNARY, *_UNARY, *_STREAMS))
    match rng.randrange(10):
        case 0:
            return method, rng.randbytes(rng.choice((0, 1, 10, 1_000)))
        case 1:
            return method, mutation.protobuf(rng, _valid(rng, seeds, method).SerializeToString())
    return method, _valid(rng, seeds, method).SerializeToString()


def _valid(rng: random.Random, seeds: Sequence[Seed], method: str) -> Any:
    """A request of the right form, whatever it holds."""
    if method == "Batch":
        batch = objects_pb2.BatchRequest()
        for _ in range(rng.choice((0, 1, 5, _BATCH))):
            verb = rng.choice(("create", "update", "patch", "delete"))
            mutation_ = batch.mutations.add()
            if rng.random() < 0.97:
                getattr(mutation_, verb).CopyFrom(_valid(rng, seeds, verb.title()))
        return batch
    seed = rng.choice(seeds)
    assert seed.kind is not None
    request = getattr(objects_pb2, f"{method}Request")()
    request.resource.group, request.resource.version = seed.kind.group, seed.kind.version
    request.resource.resource = seed.kind.resource if rng.random() < 0.97 else rng.choice(("", "x", "pods", "é"))
    request.namespace = "default" if seed.kind.namespaced else ""
    fields = request.DESCRIPTOR.fields_by_name
    if "name" in fields and method != "Create":
        request.name = seed.name
    if "object" in fields:
        request.object.CopyFrom(_packed(rng, seed, seeds))
    if "patch" in fields:
        request.type = rng.randrange(5)
        request.patch = mutation.json_text(rng, mutation.value(rng, seed.document))
    for name, field in fields.items():
        if field.type == field.TYPE_STRING and rng.random() < 0.08:
            setattr(
                request, name, rng.choice(("", "x", "..", "a/b", "\x00", "é", "a" * 5_000, "-1", "status", "99999999"))
            )
        elif field.type in (field.TYPE_INT64, field.TYPE_BOOL) and rng.random() < 0.3:
            setattr(request, name, rng.choice((0, 1, -1, 2**62)) if field.type == field.TYPE_INT64 else True)
    return request


def _packed(rng: random.Random, seed: Seed, seeds: Sequence[Seed]) -> AnyMessage:
    kind = seed.kind if rng.random() < 0.95 else rng.choice(seeds).kind
    assert kind is not None
    url = TYPE_URL_PREFIX + kind.full_name
    if rng.random() < 0.03:
        url = rng.choice(("", "/", "x", "type.googleapis.com/google.protobuf.Any", "\x00", "a" * 9_000))
    raw = seed.protobuf()
    if rng.random() < 0.7:
        raw = mutation.protobuf(rng, raw)
    else:
        name = f"{seed.name}-{rng.randrange(30)}"
        document = {**seed.document, "metadata": {**seed.document.get("metadata", {}), "name": name}}
        raw = Seed(json.loads(json.dumps(document)), seed.collection, seed.kind).protobuf()
    return AnyMessage(type_url=url, value=raw)
