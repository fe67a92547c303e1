"""Volumes that grow: their drivers make use of it on the node, and their claims are told (KEP-556)."""

from collections.abc import Callable
from typing import Any

from navarch.protos.csi import v1_pb2 as csiv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import codec
from navarch.services.api.errors import ApiError
from navarch.services.base.log import get_logger
from navarch.services.client.client import Client
from navarch.services.client.events import EventType
from navarch.services.kubelet.core.csi_volumes import growth_bytes
from navarch.services.kubelet.volumes.csi_drivers import Driver
from navarch.services.kubelet.volumes.kinds import MountFailure, Wanted

# Conditions of a claim that end with it.
PENDING = ("FileSystemResizePending", "Resizing", "NodeResizeError")
# Reports an Event of a Pod or a claim.
Tell = Callable[[Any, EventType, str, str], None]


class Grows:
    """Sees to the growth of CSI volumes. Never fails: what could not be done now is tried at the next look."""

    def __init__(self, client: Client, tell: Tell) -> None:
        self._client = client
        self._tell = tell
        self._log = get_logger("kubelet.csi")

    async def look(self, wanted: Wanted, driver: Driver, request: csiv1.NodeExpandVolumeRequest) -> None:
        """Have the driver use all of a volume that has grown. request: without the size."""
        persistent, claim = wanted.persistent, wanted.claim
        if persistent is None or claim is None or wanted.read_only or not (size := growth_bytes(persistent, claim)):
            return
        request.capacity_range.required_bytes = size
        try:
            await driver.call(driver.stub.NodeExpandVolume, request)
            await self._report(claim, persistent)
        except (MountFailure, ApiError) as failure:
            message = f'NodeExpandVolume.NodeExpandVolume failed for volume "{wanted.name}" : {failure}'
            self._tell(wanted.pod, "Warning", "VolumeResizeFailed", message)
            return
        message = f'MountVolume.NodeExpandVolume succeeded for volume "{wanted.name}"'
        for object_ in (wanted.pod, claim):
            self._tell(object_, "Normal", "FileSystemResizeSuccessful", message)
        self._log.info("volume.grown", volume=wanted.name, bytes=size)

    async def _report(self, claim: corev1.PersistentVolumeClaim, persistent: corev1.PersistentVolume) -> None:
        kept = [one for one in claim.status.conditions if one.type not in PENDING]
        change = corev1.PersistentVolumeClaim(status=corev1.PersistentVolumeClaimStatus(conditions=kept))
        conditions = codec.to_json(change).get("status", {}).get("conditions", [])
        status = {
            "capacity": {"storage": persistent.spec.capacity["storage"].string},
            "conditions": conditions,
            "allocatedResourceStatuses": None,
        }
        metadata = claim.metadata
        body = {"metadata": {"uid": metadata.uid}, "status": status}
        kind = corev1.PersistentVolumeClaim
        await self._client.patch(kind, metadata.name, metadata.namespace, body, "merge", subresource="status")
