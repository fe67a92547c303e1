"""Objects as the API server treats them: defaulted, prepared, judged."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import Message

from navarch.services.api.codec import from_json, to_json
from navarch.services.api.kinds import KINDS
from navarch.services.api.strategy import strategy_for


def merge(base: dict, changes: dict) -> dict:
    """A JSON merge patch."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merge(result[key], value)
        else:
            result[key] = value
    return result


class Door:
    """What a strategy makes of manifests."""

    def defaulted(self, manifest: dict) -> dict:
        """The manifest with what it leaves open."""
        obj = _read(manifest)
        _strategy(obj).default(obj)
        return to_json(obj)

    def created(self, manifest: dict) -> dict:
        """The object as it would be stored."""
        return to_json(_created(manifest))

    def refused(self, manifest: dict) -> list[str]:
        """What is wrong with a new object."""
        obj = _created(manifest)
        return list(map(str, _strategy(obj).validate(obj)))

    def changed(self, old: dict, new: dict, part: str = "") -> dict:
        """The object as it would be stored after an update."""
        stored, obj = _read(old), _read(new)
        _prepare(obj, stored, part)
        return to_json(obj)

    def change_refused(self, old: dict, new: dict, part: str = "") -> list[str]:
        """What is wrong with an update of a stored object."""
        stored, obj = _read(old), _read(new)
        _prepare(obj, stored, part)
        strategy = _strategy(obj)
        if part == "status":
            errors = strategy.validate_status_update(obj, stored)
        elif part:
            errors = strategy.validate_part_update(part, obj, stored)
        else:
            errors = strategy.validate_update(obj, stored)
        return list(map(str, errors))

    def warned(self, manifest: dict) -> list[str]:
        """What is worth telling about an object."""
        obj = _created(manifest)
        return list(_strategy(obj).warnings(obj))


def _read(manifest: dict) -> Any:
    kind = KINDS.by_gvk(manifest["apiVersion"], manifest["kind"])
    metadata = {"name": "web", **({"namespace": "default"} if kind.namespaced else {})}
    return from_json(merge({"metadata": metadata}, manifest))


def _strategy(obj: Message) -> Any:
    return strategy_for(KINDS.of(obj))


def _created(manifest: dict) -> Any:
    obj = _read(manifest)
    _strategy(obj).default(obj)
    _strategy(obj).prepare_for_create(obj)
    _strategy(obj).complete(obj)
    return obj


def _prepare(obj: Any, stored: Any, part: str) -> None:
    strategy = _strategy(obj)
    strategy.default(stored)
    strategy.default(obj)
    if part == "status":
        strategy.prepare_for_status_update(obj, stored)
    elif part:
        strategy.prepare_for_part_update(part, obj, stored)
    else:
        strategy.prepare_for_update(obj, stored)


@pytest.fixture(scope="session")
def door() -> Door:
    return Door()


@pytest.fixture(scope="session")
def patched() -> Callable[[dict, dict], dict]:
    return merge
