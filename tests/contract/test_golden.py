"""The codec and the envelope against objects that the genuine Kubernetes wrote, byte for byte."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message

from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import codec, envelope
from navarch.services.api.kinds import message_class

FOLDER = Path(os.environ.get("NAVARCH_GOLDEN") or Path(__file__).resolve().parents[3] / "shared" / "golden")
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def test_the_golden_objects_are_here() -> None:
    assert NAMES, f"no golden objects in {FOLDER}; set NAVARCH_GOLDEN to their folder"


def _read(name: str) -> tuple[dict[str, Any], bytes, type[Message]]:
    value = json.loads((FOLDER / f"{name}.json").read_text())
    # A watch event is the one that does not name itself.
    cls = message_class(value["apiVersion"], value["kind"]) if "kind" in value else metav1.WatchEvent
    return value, (FOLDER / f"{name}.pb").read_bytes(), cls


@pytest.mark.parametrize("name", NAMES)
def test_json_becomes_the_recorded_bytes(name: str) -> None:
    value, recorded, cls = _read(name)
    assert envelope.encode(codec.from_json(value, cls, strict=True)) == recorded


@pytest.mark.parametrize("name", NAMES)
def test_recorded_bytes_become_the_json(name: str) -> None:
    value, recorded, cls = _read(name)
    message = envelope.decode(recorded, cls)
    assert codec.to_json(message) == value
    assert json.loads(codec.to_json_bytes(message)) == value


@pytest.mark.parametrize("name", NAMES)
def test_recorded_text_becomes_the_message(name: str) -> None:
    _, recorded, cls = _read(name)
    text = (FOLDER / f"{name}.json").read_bytes()
    assert codec.from_json_bytes(text, cls, strict=True) == envelope.decode(recorded, cls)


@pytest.mark.parametrize("name", NAMES)
def test_a_spliced_resource_version_is_the_one_that_a_parse_sees(name: str) -> None:
    value, recorded, cls = _read(name)
    if "metadata" not in value or name.endswith("Status"):
        return
    raw = envelope.unwrap(recorded)[2]
    expected: Any = cls.FromString(raw)
    expected.metadata.resource_version = "4711"
    assert envelope.with_resource_version(raw, "4711") == expected.SerializeToString(deterministic=True)
