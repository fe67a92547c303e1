"""Every kind, and everything else that names itself in JSON, survives each encoding with all fields set."""

from typing import Any

import pytest
from google.protobuf.message import Message

from navarch.services.api import codec, envelope
from navarch.services.api.kinds import KINDS, Kind, named_types

TYPES = sorted(named_types(), key=str)
Row = tuple[str, str, type[Message]]


def _id(row: Row) -> str:
    return f"{row[0]}/{row[1]}"


@pytest.mark.parametrize("row", TYPES, ids=_id)
def test_json_round_trip(row: Row, filled: Any) -> None:
    api_version, kind, cls = row
    message = filled(cls)
    value = codec.to_json(message)
    assert (value["apiVersion"], value["kind"]) == (api_version, kind)
    assert codec.from_json(value, strict=True) == message
    assert codec.from_json_bytes(codec.to_json_bytes(message), strict=True) == message


@pytest.mark.parametrize("row", TYPES, ids=_id)
def test_envelope_round_trip(row: Row, filled: Any) -> None:
    api_version, kind, cls = row
    message = filled(cls)
    data = envelope.encode(message)
    assert envelope.unwrap(data)[:2] == (api_version, kind)
    assert envelope.decode(data) == message


@pytest.mark.parametrize("row", TYPES, ids=_id)
def test_an_empty_object_shows_what_is_always_shown_and_is_read_back(row: Row) -> None:
    cls = row[2]
    value = codec.to_json(cls())
    # Members that are always written come back as present and empty, so only their JSON can be compared.
    assert codec.to_json(codec.from_json(value, strict=True)) == value


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.key_prefix], ids=lambda kind: kind.full_name)
def test_what_is_stored_is_read_back(kind: Kind, filled: Any) -> None:
    message = filled(kind.message)
    if kind.stored_as in ("v1", "autoscaling/v2") and kind.stored_as != kind.api_version:
        with pytest.raises(Exception, match="has to be converted"):
            envelope.to_stored(message, kind)
        return
    assert envelope.from_stored(envelope.to_stored(message, kind), kind) == message
