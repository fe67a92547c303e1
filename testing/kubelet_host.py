"""One host for tests of the kubelet: a containerd with both CRI servers, a control plane, and kubelets.

Each side ("shim", "plugin") has a kubelet of its own, a process that can be killed, whose node has the side's name.
Everything lies below the folder of the private containerd and is gone afterwards. Needs root.
"""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from navarch.services.base import mounting
from navarch.services.base.tls import CertificateAuthority, Credentials
from navarch.testing.control_plane import new_authority
from navarch.testing.private_containerd import SIDES, PrivateContainerd, private_containerd, remove_sandboxes

KUBELET = (sys.executable, "-c", "import sys; from navarch.services.kubelet.main import main; main(sys.argv[1:])")
START_TIMEOUT_S = 60.0
POLL_S = 0.02


@dataclass
class KubeletHost:
    """containerd: both runtimes. authority: of the control plane. kubelets: the processes, by side."""

    containerd: PrivateContainerd
    authority: CertificateAuthority
    control_plane: "subprocess.Popen[bytes]"
    kubelets: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        """Where the control plane and the kubelets keep their things."""
        return self.containerd.data_dir

    @property
    def api_server(self) -> str:
        """Address of the API server's gRPC door."""
        return (self.directory / "address").read_text()

    @property
    def rest_url(self) -> str:
        """Of the API server's REST door."""
        return (self.directory / "rest-url").read_text()

    def credentials(self, name: str, *groups: str) -> Credentials:
        """A certificate for any user."""
        return self.authority.issue(name, groups, ["localhost"], ["127.0.0.1"], now=time.time(), server=True)

    def socket(self, side: str) -> Path:
        """The CRI socket of a side."""
        return self.containerd.shim_socket if side == "shim" else self.containerd.plugin_socket

    def root_dir(self, side: str) -> Path:
        """The root directory of a side's kubelet."""
        return self.directory / f"kubelet-{side}"

    def log(self, side: str) -> Path:
        """What a side's kubelet has said."""
        return self.directory / f"kubelet-{side}.log"

    def identity(self, side: str) -> list[str]:
        """The part of the command line that says who a side's kubelet is."""
        names = {kind: self.directory / f"{kind}-{side}.pem" for kind in ("ca", "cert", "key")}
        if not names["key"].exists():
            self.credentials(f"system:node:{side}", "system:nodes").save(*names.values())
        return [f"--api-server={self.api_server}", *(f"--{kind}={path}" for kind, path in names.items())]

    def options(self, side: str, identity: Sequence[str] = ()) -> list[str]:
        """The command line of a side's kubelet."""
        return [
            f"--node-name={side}",
            *(identity or self.identity(side)),
            f"--runtime-endpoint=unix://{self.socket(side)}",
            f"--root-dir={self.root_dir(side)}",
            "--listen=127.0.0.1:0",
            "--grpc-listen=127.0.0.1:0",
            "--node-ip=127.0.0.1",
            f"--cgroup-root={self.containerd.cgroup_root}/{side}",
            # Whatever the disk of the host is like.
            "--eviction-hard=memory.available<100Mi",
            "--image-gc-high-threshold=100",
        ]

    def start_kubelet(
        self, side: str, *flags: str, program: Sequence[str] = KUBELET, identity: Sequence[str] = ()
    ) -> None:
        """Start a side's kubelet, if it does not run. program: another than the kubelet; identity: as another."""
        known = self.kubelets.get(side)
        if known is not None and known.poll() is None:
            return
        with self.log(side).open("ab") as log:
            command = [*program, *self.options(side, identity), *flags]
            self.kubelets[side] = subprocess.Popen(command, stdout=log, stderr=log, cwd="/", start_new_session=True)

    def kill_kubelet(self, side: str) -> None:
        """End a side's kubelet by SIGKILL."""
        if (process := self.kubelets.pop(side, None)) is not None:
            process.kill()
            process.wait()

    def remove(self) -> None:
        """End all processes but containerd's, and unmount what the kubelets have mounted."""
        for side in list(self.kubelets):
            self.kill_kubelet(side)
        assert self.control_plane.stdin is not None
        self.control_plane.stdin.close()
        self.control_plane.kill()
        self.control_plane.wait()

    def unmount(self) -> None:
        """Unmount what the kubelets have mounted; no container may run any more."""
        for side in SIDES:
            for point in mounting.mount_points(f"{self.root_dir(side)}/"):
                mounting.unmount(point)


@contextlib.contextmanager
def kubelet_host() -> Iterator[KubeletHost]:
    """A host whose control plane serves; its kubelets are started by `start_kubelet`."""
    with private_containerd() as containerd:
        directory = containerd.data_dir
        authority = new_authority(directory)
        host = KubeletHost(containerd, authority, _start_control_plane(directory))
        try:
            _wait_for(directory / "address", host.control_plane)
            yield host
        finally:
            host.remove()
            for side in SIDES:
                remove_sandboxes(host.socket(side))
            host.unmount()


def _start_control_plane(directory: Path) -> "subprocess.Popen[bytes]":
    command: Sequence[str] = (sys.executable, "-m", "navarch.testing.control_plane", str(directory))
    with (directory / "control-plane.log").open("ab") as log:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True, env=environment
        )


def _wait_for(path: Path, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not path.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"no control plane: {(path.parent / 'control-plane.log').read_text()}")
        time.sleep(POLL_S)
