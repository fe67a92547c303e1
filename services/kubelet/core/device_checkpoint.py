"""What is kept on disk of the devices, so that a kubelet that starts knows who has them. Pure.

The fields are those of the genuine kubelet's file, so that people and tools find their way; the checksum is our own.
"""

import base64
import json
import zlib
from collections.abc import Iterable
from typing import Any

from google.protobuf.message import DecodeError

from navarch.protos.kubelet import deviceplugin_pb2 as plugin
from navarch.services.kubelet.core.devices import Allocation, Devices

FILE = "kubelet_internal_checkpoint"
# Of a device that says nothing of where it is.
NOWHERE = -1


class CorruptCheckpoint(ValueError):
    """The file cannot be believed."""


def written(devices: Devices) -> str:
    """The file's content."""
    data = {
        "PodDeviceEntries": [_entry(devices, one) for one in devices.allocations()],
        "RegisteredDevices": {name: known.healthy() for name, known in sorted(devices.resources.items())},
    }
    return json.dumps({"Data": data, "Checksum": _checksum(data)})


def read(text: str, now: float) -> Devices:
    """The devices as they were. now: monotonic seconds. Raises CorruptCheckpoint."""
    try:
        document = json.loads(text)
        data, checksum = document["Data"], document["Checksum"]
        if checksum != _checksum(data):
            raise CorruptCheckpoint(f"Checksum: found {checksum}, expected {_checksum(data)}")
        return Devices(data["RegisteredDevices"], _allocations(data["PodDeviceEntries"]), now)
    except (ValueError, KeyError, TypeError, AttributeError, DecodeError) as failure:
        raise CorruptCheckpoint(str(failure)) from failure


def _checksum(data: Any) -> int:
    return zlib.crc32(json.dumps(data, sort_keys=True).encode())


def _entry(devices: Devices, allocation: Allocation) -> dict[str, Any]:
    by_node: dict[str, list[str]] = {}
    known = devices.resources[allocation.resource].devices if allocation.resource in devices.resources else {}
    for id_ in allocation.devices:
        nodes = [node.ID for node in known[id_].topology.nodes] if id_ in known else []
        for node in nodes or [NOWHERE]:
            by_node.setdefault(str(node), []).append(id_)
    return {
        "PodUID": allocation.uid,
        "ContainerName": allocation.container,
        "ResourceName": allocation.resource,
        "DeviceIDs": by_node,
        "AllocResp": base64.b64encode(allocation.response.SerializeToString(deterministic=True)).decode(),
    }


def _allocations(entries: Iterable[Any]) -> list[Allocation]:
    return [
        Allocation(
            entry["PodUID"],
            entry["ContainerName"],
            entry["ResourceName"],
            tuple(dict.fromkeys(id_ for ids in entry["DeviceIDs"].values() for id_ in ids)),
            plugin.ContainerAllocateResponse.FromString(base64.b64decode(entry["AllocResp"])),
        )
        for entry in entries
    ]
