"""Device plugins that register by a socket in `plugins_registry`, as CSI drivers do."""

from pathlib import Path

from navarch.services.kubelet.plugins.devices import BadRegistration, DeviceManager
from navarch.services.kubelet.plugins.registration import PluginRefused

VERSION = "v1beta1"


class RegisteredDevices:
    """Takes over the plugins of type DevicePlugin, whose name is that of their resource."""

    def __init__(self, manager: DeviceManager) -> None:
        self._manager = manager
        self._sockets: dict[str, Path] = {}

    async def plug_in(self, name: str, endpoint: Path, versions: tuple[str, ...]) -> None:
        """A plugin has come. Raises PluginRefused."""
        if VERSION not in versions:
            raise PluginRefused(f"supported_versions: found {', '.join(versions) or 'none'}, accepted is {VERSION}")
        try:
            self._manager.plug_in(name, endpoint)
        except BadRegistration as refusal:
            raise PluginRefused(str(refusal)) from refusal
        self._sockets[name] = endpoint

    async def unplug(self, name: str) -> None:
        """Its socket has gone."""
        if (socket := self._sockets.pop(name, None)) is not None:
            self._manager.unplug(name, socket)
