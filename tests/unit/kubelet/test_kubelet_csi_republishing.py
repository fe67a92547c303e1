"""Volumes that their drivers want to publish again and again, with tokens of the Pod's account."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from navarch.protos.csi import v1_pb2 as csiv1
from navarch.protos.k8s.storage import v1_pb2 as storagev1
from navarch.services.base.clock import VirtualClock
from navarch.services.kubelet.core.csi_volumes import TOKENS
from navarch.services.kubelet.volumes.csi import LOOK_S, CsiVolumes
from navarch.services.kubelet.volumes.kinds import Wanted

from .conftest import a_pod


class Node:
    """A driver that is called, a description of it, and tokens that are numbered."""

    def __init__(self, root: Path, **spec: Any) -> None:
        self.clock = VirtualClock(1000.0)
        self.published: list[csiv1.NodePublishVolumeRequest] = []
        self.described = storagev1.CSIDriver(spec=storagev1.CSIDriverSpec(volume_lifecycle_modes=["Ephemeral"], **spec))
        self.issued = 0
        driver = SimpleNamespace(
            name="d", can=lambda _: False, call=self._call, stub=SimpleNamespace(NodePublishVolume=1)
        )
        drivers: Any = SimpleNamespace(find=lambda _: driver, known=lambda _: driver)
        client: Any = SimpleNamespace(get=self._get)
        tokens: Any = SimpleNamespace(issue=self._issue, forget=lambda _: None)
        grows: Any = SimpleNamespace()
        self.volumes = CsiVolumes(client, drivers, root, "n1", self.clock, tokens, grows)
        pod = a_pod(volumes=[{"name": "data", "csi": {"driver": "d"}}])
        directory = root / "pods" / pod.metadata.uid / "volumes" / CsiVolumes.plugin / "data"
        self.wanted = Wanted(pod, pod.spec.volumes[0], directory)

    async def _get(self, kind: Any, name: str) -> storagev1.CSIDriver:
        return self.described

    async def _call(self, method: Any, request: csiv1.NodePublishVolumeRequest) -> None:
        self.published.append(request)

    async def _issue(self, pod: Any, projection: Any) -> tuple[str, float]:
        self.issued += 1
        return f"{projection.audience}-{projection.expiration_seconds}-{self.issued}", 2000.0


async def test_a_driver_that_asks_for_it_publishes_again(tmp_path: Path) -> None:
    node = Node(tmp_path, requires_republish=True, token_requests=[storagev1.TokenRequest(audience="vault")])
    await node.volumes.mount(node.wanted)
    assert node.volumes.due() == set()
    node.clock.advance(LOOK_S)
    assert node.volumes.due() == {node.wanted.pod.metadata.uid}
    await node.volumes.refresh(node.wanted)
    await node.volumes.refresh(node.wanted)
    assert node.volumes.due() == set()
    shown = [orjson.loads(request.volume_context[TOKENS])["vault"]["token"] for request in node.published]
    assert shown == ["vault-3600-1", "vault-3600-2"]


async def test_one_that_does_not_is_left_alone(tmp_path: Path) -> None:
    node = Node(tmp_path)
    await node.volumes.mount(node.wanted)
    node.clock.advance(LOOK_S)
    await node.volumes.refresh(node.wanted)
    assert len(node.published) == 1
    assert TOKENS not in node.published[0].volume_context


@pytest.mark.parametrize("secret", [True, False])
async def test_tokens_are_secrets_for_drivers_that_know_them_as_such(tmp_path: Path, secret: bool) -> None:
    asked = storagev1.TokenRequest(audience="vault", expiration_seconds=600)
    node = Node(tmp_path, token_requests=[asked], service_account_token_in_secrets=secret)
    await node.volumes.mount(node.wanted)
    (request,) = node.published
    assert (TOKENS in request.secrets, TOKENS in request.volume_context) == (secret, not secret)
    assert "vault-600-1" in (request.secrets if secret else request.volume_context)[TOKENS]
