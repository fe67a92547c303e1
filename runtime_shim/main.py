"""The runtime shim's command line."""

import argparse
import resource
import secrets
from pathlib import Path

from navarch.runtime_shim.backend import Backend
from navarch.runtime_shim.containerd.images import flags
from navarch.runtime_shim.service import Config, Service
from navarch.services.base.clock import SystemClock
from navarch.services.base.process import run


def parser() -> argparse.ArgumentParser:
    """The options."""
    options = argparse.ArgumentParser(prog="navarch-runtime-shim", description=__doc__)
    options.add_argument("--backend", choices=("containerd", "simulated"), default="containerd")
    options.add_argument("--listen", type=Path, required=True, metavar="PATH", help="the unix socket to serve CRI on")
    options.add_argument(
        "--streaming-listen",
        type=host_and_port,
        default=("127.0.0.1", 0),
        metavar="HOST:PORT",
        help="where the streams of exec, attach and port-forward are served (default: any port of loopback)",
    )
    real = options.add_argument_group("containerd")
    real.add_argument("--containerd-address", type=Path, default=Path("/run/containerd/containerd.sock"))
    real.add_argument("--containerd-namespace", default="k8s.io")
    real.add_argument("--containerd-root", type=Path, help="for statistics; default: root beside the socket")
    real.add_argument("--state-dir", type=Path, default=Path("/var/lib/navarch/shim"))
    real.add_argument("--snapshotter", default="overlayfs")
    real.add_argument(
        "--cdi-spec-dirs",
        default="/etc/cdi:/var/run/cdi",
        metavar="DIR:DIR",
        help="of CDI devices; the last weighs most",
    )
    real.add_argument("--cni-conf-dir", type=Path, default=Path("/etc/cni/net.d"))
    real.add_argument("--cni-bin-dir", default="/usr/lib/cni:/opt/cni/bin", metavar="DIR:DIR")
    real.add_argument(
        "--cgroup-driver",
        choices=("cgroupfs", "systemd", "auto"),
        default="cgroupfs",
        help="who makes control groups; the kubelet must be set to the same (auto: systemd where it runs)",
    )
    real.add_argument(
        "--runtime-handler",
        action="append",
        default=[],
        metavar="NAME=TYPE[,OPTION=VALUE...]",
        help="a runtime for RuntimeClasses besides runc, such as crun=io.containerd.runc.v2,BinaryName=/usr/bin/crun",
    )
    flags.add(options)
    simulated = options.add_argument_group("simulated")
    simulated.add_argument("--pod-cidr", default="10.244.0.0/24", help="where simulated Pods get their addresses")
    return options


def host_and_port(text: str) -> tuple[str, int]:
    """An address to listen on."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no HOST:PORT")
    return host.strip("[]"), int(port)


def make_backend(options: argparse.Namespace) -> Backend:
    """The chosen backend; only its code is loaded."""
    if options.backend == "simulated":
        from navarch.runtime_shim.simulated.backend import SimulatedBackend

        return SimulatedBackend(options.pod_cidr, SystemClock(), lambda: secrets.token_hex(32))
    from navarch.runtime_shim.containerd import backend, cgroup_driver, handlers

    try:
        driver = cgroup_driver.choose(options.cgroup_driver)
        more = tuple(map(handlers.parse, options.runtime_handler))
    except ValueError as failure:
        raise SystemExit(f"navarch-runtime-shim: {failure}") from None
    beside = options.containerd_address.parent / "root"
    config = backend.Config(
        containerd_socket=options.containerd_address,
        state_dir=options.state_dir.resolve(),
        containerd_root=options.containerd_root or (beside if beside.is_dir() else Path("/var/lib/containerd")),
        namespace=options.containerd_namespace,
        snapshotter=options.snapshotter,
        cni_conf_dir=options.cni_conf_dir,
        cdi_directories=tuple(Path(entry) for entry in options.cdi_spec_dirs.split(":") if entry),
        cni_bin_dirs=tuple(Path(entry) for entry in options.cni_bin_dir.split(":") if entry),
        pull=flags.pull_options(options),
        handlers=more,
        cgroup_driver=driver,
    )
    return backend.ContainerdBackend(config)


def main(argv: list[str]) -> None:
    """Run a shim until it is told to stop."""
    options = parser().parse_args(argv)
    # A container takes several descriptors; the usual limit would do for 200.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    async def create() -> Service:
        return Service(Config(options.listen, options.streaming_listen), make_backend(options))

    run(create, "shim")


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
