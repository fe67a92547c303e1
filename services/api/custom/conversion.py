"""Conversion between versions by a webhook: what to ask and how to read the answer (ConversionReview v1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson

from navarch.services.api.errors import InternalError

API_VERSION: Final = "apiextensions.k8s.io/v1"
# Metadata that a webhook may change; all other must come back as it was.
_CHANGEABLE: Final = ("labels", "annotations")
JsonObject = dict[str, Any]


def review(uid: str, desired: str, objects: Sequence[JsonObject]) -> bytes:
    """The request: these objects, to be had in the desired apiVersion."""
    request = {"uid": uid, "desiredAPIVersion": desired, "objects": list(objects)}
    return orjson.dumps({"kind": "ConversionReview", "apiVersion": API_VERSION, "request": request})


def converted(answer: bytes, uid: str, desired: str, objects: Sequence[JsonObject]) -> list[JsonObject]:
    """The converted objects, in order. Raises InternalError for a refusal or an answer that breaks the contract."""
    try:
        response = orjson.loads(answer)
        found = _objects(response, uid)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as failure:
        raise InternalError(f"the conversion webhook did not answer with a ConversionReview: {failure!r}") from failure
    if len(found) != len(objects):
        raise InternalError(f"conversion webhook returned {len(found)} objects, expected {len(objects)}")
    return [_checked(new, old, desired) for new, old in zip(found, objects, strict=True)]


def _objects(answer: JsonObject, uid: str) -> list[Any]:
    if (answer["apiVersion"], answer["kind"]) != (API_VERSION, "ConversionReview"):
        raise InternalError(f"the conversion webhook answered with a {answer['apiVersion']} {answer['kind']}")
    response = answer["response"]
    if response["uid"] != uid:
        raise InternalError(f"expected response.uid={uid!r}, got {response['uid']!r}")
    result = response["result"]
    if result.get("status") != "Success":
        detail = result.get("message") or f"response.result.status was {result.get('status')!r}, not 'Success'"
        raise InternalError(f"conversion webhook failed: {detail}")
    found: list[Any] = response.get("convertedObjects") or []
    return found


def _checked(new: Any, old: JsonObject, desired: str) -> JsonObject:
    if not isinstance(new, dict) or new.get("apiVersion") != desired or new.get("kind") != old["kind"]:
        raise InternalError(f"the conversion webhook returned an object that is no {desired} {old['kind']}")
    theirs, ours = new.get("metadata"), old["metadata"]
    if not isinstance(theirs, dict):
        raise InternalError("the conversion webhook returned an object without metadata")
    for name in ("name", "namespace", "uid"):
        if theirs.get(name) != ours.get(name):
            raise InternalError(f"the conversion webhook changed metadata.{name}: it must not")
    metadata = {name: part for name, part in ours.items() if name not in _CHANGEABLE}
    for name in _CHANGEABLE:
        if theirs.get(name):
            metadata[name] = theirs[name]
    return {**new, "metadata": metadata}
