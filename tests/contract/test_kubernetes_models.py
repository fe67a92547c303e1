"""Every kind's JSON goes through the models of the official Python client and comes back whole."""

from typing import Any

import pytest
from kubernetes import client

from navarch.services.api import codec
from navarch.services.api.kinds import KINDS, Kind

# Names that several groups use; the client tells their models apart by the group.
RENAMED = {
    "k8s.io.api.core.v1.Event": "CoreV1Event",
    "k8s.io.api.events.v1.Event": "EventsV1Event",
    "k8s.io.api.resource.v1.ResourceClaim": "ResourceV1ResourceClaim",
}


def _model(kind: Kind) -> str:
    return RENAMED.get(kind.full_name, f"V{kind.version[1:]}{kind.kind}")


def _without_alpha(message: Any) -> Any:
    """Take away the alpha fields that the release after ours renamed; the client's models have only the new names."""
    if message.DESCRIPTOR.name == "Pod":
        del message.status.node_allocatable_resource_claim_statuses[:]
    if message.DESCRIPTOR.name == "ResourceSlice":
        for device in message.spec.devices:
            device.node_allocatable_resource_mappings.clear()
    return message


@pytest.fixture(scope="module")
def api() -> client.ApiClient:
    return client.ApiClient(client.Configuration())


@pytest.mark.parametrize("kind", list(KINDS), ids=lambda kind: kind.full_name)
def test_official_model_and_back(kind: Kind, filled: Any, api: client.ApiClient) -> None:
    message = _without_alpha(filled(kind.message))
    model = api.deserialize(codec.to_json_bytes(message).decode(), _model(kind), "application/json")
    shown = api.sanitize_for_serialization(model)  # type: ignore[no-untyped-call]
    assert codec.from_json(shown, strict=True) == message
