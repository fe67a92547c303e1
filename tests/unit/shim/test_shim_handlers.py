"""Runtime handlers by their options."""

from pathlib import Path

import pytest

from navarch.protos.containerd.runc import v1_pb2 as runcv1
from navarch.protos.containerd.services.containers import v1_pb2 as containersv1
from navarch.runtime_shim import errors, main
from navarch.runtime_shim.containerd import cgroup_driver
from navarch.runtime_shim.containerd.handlers import Handler, Handlers, parse


def options(runtime: containersv1.Container.Runtime) -> runcv1.Options:
    assert runtime.options.type_url == "containerd.runc.v1.Options"
    return runcv1.Options.FromString(runtime.options.value)


def test_handlers() -> None:
    crun = parse("crun=io.containerd.runc.v2,BinaryName=/usr/bin/crun,NoPivotRoot=true,IoUid=5")
    handlers = Handlers(Path("/state"), [crun, parse("kata=io.containerd.kata.v2")], systemd_cgroup=True)
    assert handlers.names == ("runc", "crun", "kata")
    for name in ("", "runc"):
        runtime = handlers.runtime(name)
        assert runtime.name == "io.containerd.runc.v2"
        assert options(runtime) == runcv1.Options(root="/state/runc", systemd_cgroup=True)
    assert options(handlers.runtime("crun")) == runcv1.Options(
        binary_name="/usr/bin/crun", no_pivot_root=True, io_uid=5, root="/state/runc-crun", systemd_cgroup=True
    )
    assert handlers.runtime("kata") == containersv1.Container.Runtime(name="io.containerd.kata.v2")
    with pytest.raises(errors.InvalidArgument, match="no runtime for 'nosuch' .*: there is runc, crun, kata"):
        handlers.runtime("nosuch")


def test_the_default_may_be_configured_too() -> None:
    handlers = Handlers(Path("/state"), [parse("runc=io.containerd.runc.v2,Root=/own,SystemdCgroup=false")])
    assert handlers.names == ("runc",)
    assert options(handlers.runtime("")) == runcv1.Options(root="/own")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not of the form"),
        ("name", "not of the form"),
        ("=io.containerd.runc.v2", "not of the form"),
        ("a/b=io.containerd.runc.v2", "not of the form"),
        ("x=io.containerd.runc.v2,Nosuch=1", "unknown option 'Nosuch'"),
        ("x=io.containerd.runc.v2,NoPivotRoot=maybe", "neither true nor false"),
        ("x=io.containerd.runc.v2,IoUid=root", "invalid literal"),
        ("x=io.containerd.kata.v2,BinaryName=/x", "unknown option 'BinaryName'.*known: none"),
    ],
)
def test_options_that_make_no_sense(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse(text)


@pytest.mark.parametrize(
    ("option", "words"),
    [("--runtime-handler=x", "not of the form"), ("--cgroup-driver=systemd", "systemd does not run on this host")],
)
def test_the_program_refuses_to_start(monkeypatch: pytest.MonkeyPatch, option: str, words: str) -> None:
    monkeypatch.setattr(cgroup_driver, "SYSTEMD_RUNS", Path("/nosuch"))
    options = main.parser().parse_args(["--listen=/x/cri.sock", option])
    with pytest.raises(SystemExit, match=words):
        main.make_backend(options)


def test_a_lone_name_and_type() -> None:
    assert parse("kata=io.containerd.kata.v2") == Handler("kata", "io.containerd.kata.v2")
