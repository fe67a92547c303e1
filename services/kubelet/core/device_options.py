"""What a device plugin says of its devices, as the configuration of a container. Pure."""

from collections.abc import Iterable

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.kubelet import deviceplugin_pb2 as plugin


def add_devices(config: criv1.ContainerConfig, responses: Iterable[plugin.ContainerAllocateResponse]) -> None:
    """Give a container its devices. What its own spec says of a variable or a place wins."""
    variables = {variable.key for variable in config.envs}
    places = {mount.container_path for mount in config.mounts}
    nodes = {device.container_path for device in config.devices}
    for response in responses:
        for name, value in sorted(response.envs.items()):
            if name not in variables:
                variables.add(name)
                config.envs.add(key=name, value=value.encode())
        for mount in response.mounts:
            if mount.container_path not in places:
                places.add(mount.container_path)
                config.mounts.add(
                    container_path=mount.container_path, host_path=mount.host_path, readonly=mount.read_only
                )
        for device in response.devices:
            if device.container_path not in nodes:
                nodes.add(device.container_path)
                config.devices.add(
                    container_path=device.container_path, host_path=device.host_path, permissions=device.permissions
                )
        for name, value in response.annotations.items():
            if name not in config.annotations:
                config.annotations[name] = value
        for name in (device.name for device in response.cdi_devices):
            if all(known.name != name for known in config.CDI_devices):
                config.CDI_devices.add(name=name)
