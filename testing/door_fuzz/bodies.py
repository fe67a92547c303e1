"""Objects of every kind, spoilt, in every format and with every verb that has a body."""

import asyncio
import json
import random
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from navarch.testing.door_fuzz import mutation
from navarch.testing.door_fuzz.http1 import PROTOBUF, Client
from navarch.testing.door_fuzz.seeds import Seed
from navarch.testing.door_fuzz.subject import Subject
from navarch.testing.door_fuzz.tally import Turn

JSON, YAML = "application/json", "application/yaml"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
_PATCHES = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH)
_TYPES = (JSON, YAML, PROTOBUF, *_PATCHES, "text/plain", "", ";", "application/json;charset=latin-1", "a/b/c", "*/*")
_ACCEPTS = (
    "", "*/*", JSON, YAML, PROTOBUF, "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
    "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    f"{PROTOBUF};as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
    "text/html", "application/json;q=nan,application/yaml;q=inf", "application/json;as=", ",,,;;;==",
    "application/*;q=-1",
)  # fmt: skip
_PARAMETERS = (
    "dryRun", "fieldValidation", "fieldManager", "force", "pretty", "propagationPolicy", "gracePeriodSeconds",
    "orphanDependents", "labelSelector", "fieldSelector", "limit", "continue", "resourceVersion",
    "resourceVersionMatch",
    "at", "timeoutSeconds", "includeObject", "sendInitialEvents", "allowWatchBookmarks",
)  # fmt: skip
_VALUES = (
    "", "All", "Strict", "Warn", "Ignore", "true", "false", "1", "0", "-1", "Background", "Foreground", "Orphan", "NaN",
    "NotOlderThan", "Exact", "99999999999", "9223372036854775808", "a=b", "a in (b,c),!d", "metadata.name=web",
    "==", "!",
    "a" * 3_000, "x" * 129, "é", "\x00", "%", "5m", "2020-01-01T00:00:00Z", "1h1h", "Metadata", "Object", "eyJ2IjoxfQ",
)  # fmt: skip


_CLIENTS = 3


async def bodies(subject: Subject, seeds: Sequence[Seed], turn: Turn) -> None:
    """Several clients at a time go on until the end of the turn."""
    async with asyncio.TaskGroup() as clients:
        for _ in range(_CLIENTS):
            own = Turn(random.Random(turn.rng.random()), turn.end, turn.tally)
            clients.create_task(_spoil(subject, seeds, own))


async def _spoil(subject: Subject, seeds: Sequence[Seed], turn: Turn) -> None:
    client = Client(subject, turn.tally)
    try:
        while turn.goes_on():
            seed = turn.rng.choice(seeds)
            method, target = _target(turn.rng, seed)
            media, body = _body(turn.rng, seed, method)
            headers = {"Content-Type": media, "Accept": turn.rng.choice(_ACCEPTS)}
            if turn.rng.random() < 0.02:
                headers["Content-Encoding"] = turn.rng.choice(("gzip", "br", "deflate", "zstd", "identity", "x"))
            await client.ask(method, target, body, headers)
    finally:
        client.close()


def _target(rng: random.Random, seed: Seed) -> tuple[str, str]:
    method = rng.choice(("POST", "POST", "POST", "PUT", "PUT", "PATCH", "PATCH", "PATCH", "PATCH", "DELETE", "GET"))
    if seed.is_question:
        method = "POST" if rng.random() < 0.9 else method
    at_collection = method == "POST" or rng.random() < 0.03
    place = seed.collection if at_collection else seed.path
    if not at_collection and seed.parts and rng.random() < 0.3:
        place += f"/{rng.choice(seed.parts)}"
    elif method == "POST" and seed.parts and rng.random() < 0.3:
        place = f"{seed.path}/{rng.choice(seed.parts)}"
    if method == "DELETE" and seed.collection == "/api/v1/namespaces":
        method = "PUT"
    return method, place + query(rng, (0, 0, 1, 1, 2, 4))


def query(rng: random.Random, counts: Sequence[int]) -> str:
    """Parameters that may or may not mean something."""
    pairs = [(rng.choice(_PARAMETERS), rng.choice(_VALUES)) for _ in range(rng.choice(counts))]
    return "?" + "&".join(f"{name}={quote(value)}" for name, value in pairs) if pairs else ""


def _body(rng: random.Random, seed: Seed, method: str) -> tuple[str, bytes]:
    if method == "PATCH":
        media = rng.choice(_PATCHES)
        data = _patch(rng, seed, media)
    elif method == "DELETE":
        options: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
        options |= {"propagationPolicy": "Background", "preconditions": {"uid": "x"}, "dryRun": ["All"]}
        media, data = JSON, mutation.json_text(rng, mutation.value(rng, options))
    else:
        media, data = _whole(rng, seed)
    return rng.choice(_TYPES) if rng.random() < 0.05 else media, data


def _whole(rng: random.Random, seed: Seed) -> tuple[str, bytes]:
    document = seed.document
    if rng.random() < 0.3 and not seed.is_question:
        document = {**document, "metadata": {**document["metadata"], "name": f"{seed.name}-{rng.randrange(30)}"}}
    match rng.randrange(6):
        case 0:
            return YAML, mutation.yaml_text(rng, mutation.value(rng, document))
        case 1 | 2 if seed.kind is not None:
            raw = mutation.protobuf(rng, seed.protobuf())
            data = seed.enveloped(raw)
            return PROTOBUF, mutation.raw(rng, data) if rng.random() < 0.2 else data
    return JSON, mutation.json_text(rng, mutation.value(rng, document))


def _patch(rng: random.Random, seed: Seed, media: str) -> bytes:
    if media == JSON_PATCH:
        return mutation.json_text(rng, _operations(rng, seed))
    document = mutation.value(rng, seed.document)
    if media == APPLY_PATCH:
        return mutation.yaml_text(rng, document) if rng.random() < 0.3 else json.dumps(document).encode()
    for _ in range(rng.choice((0, 1, 2))):
        directives = [
            (container, key)
            for container, key in mutation.paths(document)
            if isinstance(container, dict) and isinstance(container[key], dict | list)
        ]
        if directives:
            container, key = rng.choice(directives)
            name, given = rng.choice(
                (
                    ("$patch", rng.choice(("delete", "replace", "merge", "x", 1, None))),
                    (f"$setElementOrder/{key}", mutation.scalar(rng)),
                    (f"$deleteFromPrimitiveList/{key}", mutation.scalar(rng)),
                    ("$retainKeys", mutation.scalar(rng)),
                    (key, None),
                )
            )
            container[name] = given
    return mutation.json_text(rng, document)


def _operations(rng: random.Random, seed: Seed) -> Any:
    places = [
        *mutation.pointers(seed.document),
        "",
        "/",
        "/-",
        "/metadata/-1",
        "/spec/01",
        "/~2",
        "/a/b/c",
        "x",
        "/status",
    ]
    operations: list[Any] = []
    for _ in range(rng.choice((0, 1, 1, 2, 3, 40))):
        operation: dict[str, Any] = {
            "op": rng.choice(("add", "remove", "replace", "move", "copy", "test", "", "ADD")),
            "path": rng.choice(places) + rng.choice(("", "", "/-", "/0", "/99999999999999999999", "/x")),
            "from": rng.choice(places),
            "value": mutation.scalar(rng),
        }
        if rng.random() < 0.1:
            del operation[rng.choice(("op", "path", "from", "value"))]
        operations.append(mutation.value(rng, operation) if rng.random() < 0.1 else operation)
    if rng.random() < 0.02:
        # Doubles with every operation.
        operations = [{"op": "add", "path": "/metadata/annotations", "value": {"a": "x"}}]
        operations += [{"op": "copy", "from": "/metadata", "path": f"/metadata/annotations/a{n}"} for n in range(40)]
    return operations if rng.random() < 0.97 else mutation.scalar(rng)
