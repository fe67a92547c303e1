"""A private containerd under a data directory: its configuration and its command.

Only the plugins that the shim uses are loaded: containerd's own CRI, with its event loop and statistics, stays
out, which saves memory and wake-ups. Run as a program it writes the configuration and becomes containerd:

    python -m navarch.runtime_shim.containerd.daemon --data-dir DIR
"""

import argparse
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

# The kernel's limit for the path of a unix socket, with its closing zero.
SOCKET_PATH_BYTES = 108
# containerd derives a second socket from the first.
TTRPC_SUFFIX = ".ttrpc"
# Names of plugins that some version knows and none needs here. Unknown names do no harm.
# runtime.v1.linux stays: the tasks service of 1.6 refuses to load without it.
UNUSED_PLUGINS = (
    "io.containerd.grpc.v1.cri",
    "io.containerd.cri.v1.images",
    "io.containerd.cri.v1.runtime",
    "io.containerd.podsandbox.controller.v1.podsandbox",
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.restart",
    "io.containerd.internal.v1.tracing",
    "io.containerd.monitor.v1.cgroups",
    "io.containerd.monitor.task.v1.cgroups",
    "io.containerd.nri.v1.nri",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.blockfile",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.erofs",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.tracing.processor.v1.otlp",
)


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a private containerd keeps its things below the data directory."""

    data_dir: Path

    @property
    def root(self) -> Path:
        """Images, snapshots and metadata: survives a restart of the host."""
        return self.data_dir / "containerd" / "root"

    @property
    def state(self) -> Path:
        """Bundles of running tasks."""
        return self.data_dir / "containerd" / "state"

    @property
    def config(self) -> Path:
        """The generated config.toml."""
        return self.data_dir / "containerd" / "config.toml"

    @property
    def socket(self) -> Path:
        """Where containerd listens."""
        return self.data_dir / "containerd" / "containerd.sock"

    @property
    def shim_state(self) -> Path:
        """The runtime shim's own records and mounts: its --state-dir."""
        return self.data_dir / "shim"


def config(layout: Layout, native_snapshotter: bool = False) -> str:
    """config.toml. native_snapshotter: keep the plugin that copies, for file systems without overlayfs."""
    unused = UNUSED_PLUGINS if native_snapshotter else (*UNUSED_PLUGINS, "io.containerd.snapshotter.v1.native")
    return f"""\
version = 2
root = {quoted(layout.root)}
state = {quoted(layout.state)}
disabled_plugins = [{", ".join(map(quoted, unused))}]

[grpc]
  address = {quoted(layout.socket)}
"""


def quoted(value: object) -> str:
    """A TOML basic string. Paths hold no control characters here."""
    return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'


def prepare(layout: Layout) -> list[str]:
    """Write the configuration; returns the command. Raises ValueError for a data directory that cannot work."""
    if len(os.fsencode(layout.socket)) + len(TTRPC_SUFFIX) >= SOCKET_PATH_BYTES:
        raise ValueError(f"{layout.data_dir} is too long a path: the sockets below it exceed {SOCKET_PATH_BYTES} bytes")
    binary = shutil.which("containerd")
    if binary is None:
        raise ValueError("containerd is not installed: no such program in PATH")
    layout.config.parent.mkdir(parents=True, exist_ok=True)
    layout.config.write_text(config(layout))
    return [binary, "--config", str(layout.config), "--log-level", os.environ.get("NAVARCH_CONTAINERD_LOG", "error")]


def main(argv: list[str]) -> None:
    """Become containerd."""
    parser = argparse.ArgumentParser(prog="navarch-containerd", description="run a private containerd")
    parser.add_argument("--data-dir", type=Path, required=True)
    arguments = parser.parse_args(argv)
    try:
        command = prepare(Layout(arguments.data_dir.resolve()))
    except ValueError as failure:
        raise SystemExit(str(failure)) from None
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
