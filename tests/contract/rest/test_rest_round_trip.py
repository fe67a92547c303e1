"""JSON -> protobuf -> JSON through the door: no kind loses or gains a member on the way."""

from typing import Any

import pytest

from navarch.services.api import codec
from navarch.services.api.kinds import KINDS

pytestmark = pytest.mark.asyncio(loop_scope="module")


# Kinds that the API server itself writes the status of, at a time of its own.
MINDED = ("CustomResourceDefinition", "APIService")


def of_content(document: Any) -> Any:
    """What of an object is not about its last write."""
    metadata = {k: v for k, v in document["metadata"].items() if k not in ("resourceVersion", "managedFields")}
    content = {**document, "metadata": metadata}
    if document["kind"] in MINDED:
        del content["status"]
    return content


async def test_every_kind_has_a_manifest(described: set[Any]) -> None:
    assert {kind.gvk for kind in KINDS if kind.key_prefix} - described == set()


async def test_what_json_brings_protobuf_brings_back(admin: Any, manifest: Any) -> None:
    made = await admin.ask("POST", manifest.collection, manifest.document, "application/json")
    assert made.status == 201, made.body
    first = (await admin.ask("GET", manifest.path, accept="application/json")).json
    assert of_content(first) == of_content(made.json)
    message = await admin.get(manifest.path)
    assert type(message) is manifest.kind.message
    assert of_content(codec.to_json(message)) == of_content(first)
    put = await admin.ask("PUT", manifest.path, message)
    while put.status == 409 and manifest.kind.kind in MINDED:
        put = await admin.ask("PUT", manifest.path, await admin.get(manifest.path))
    assert of_content(codec.to_json(put.ok)) == of_content(first)
    second = (await admin.ask("GET", manifest.path, accept="application/json")).json
    assert of_content(second) == of_content(first)


async def test_nothing_that_was_sent_is_lost(admin: Any, manifest: Any) -> None:
    stored = (await admin.ask("GET", manifest.path, accept="application/json")).json
    sent = codec.to_json(manifest.message)
    if manifest.kind.kind in MINDED:
        del sent["status"]
    assert lost(sent, stored) == []


def lost(sent: Any, kept: Any, path: str = "") -> list[str]:
    """The paths of what was sent and is not there, or is another."""
    if isinstance(sent, dict) and isinstance(kept, dict):
        return [place for key, value in sent.items() for place in lost(value, kept.get(key), f"{path}.{key}")]
    if isinstance(sent, list) and isinstance(kept, list) and len(sent) == len(kept):
        return [place for at, value in enumerate(sent) for place in lost(value, kept[at], f"{path}[{at}]")]
    # A pointer without a value may have got one by default.
    return [] if sent == kept or sent is None or (not sent and kept is None) else [f"{path}: {sent} became {kept}"]
