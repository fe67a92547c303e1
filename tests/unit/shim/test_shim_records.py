"""Records on disk, those of other versions included."""

from pathlib import Path

import orjson

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.records import ContainerPhase, ContainerRecord, SandboxRecord, StateDir


def container() -> ContainerRecord:
    config = criv1.ContainerConfig(metadata=criv1.ContainerMetadata(name="main"))
    return ContainerRecord("c", "s", config, 7, phase=ContainerPhase.RUNNING, pid=42, groups=(1, 2))


def sandbox() -> SandboxRecord:
    return SandboxRecord("s", criv1.PodSandboxConfig(hostname="h"), 7, ips=("192.0.2.1",), network={"result": None})


def saved(tmp_path: Path) -> StateDir:
    state = StateDir(tmp_path)
    state.container("c").mkdir(parents=True)
    state.sandbox("s").mkdir(parents=True)
    state.save(container())
    state.save(sandbox())
    return state


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    state = saved(tmp_path)
    assert list(state.containers()) == [("c", container())]
    assert list(state.sandboxes()) == [("s", sandbox())]


def test_what_a_later_version_has_added_is_passed_over(tmp_path: Path) -> None:
    """The container would be taken for a leftover, and be killed."""
    state = saved(tmp_path)
    for path in (state.container("c"), state.sandbox("s")):
        record = path / "record.json"
        record.write_bytes(orjson.dumps({**orjson.loads(record.read_bytes()), "novelty": 1}))
    assert list(state.containers()) == [("c", container())]
    assert list(state.sandboxes()) == [("s", sandbox())]


def test_what_is_no_record_is_named(tmp_path: Path) -> None:
    state = saved(tmp_path)
    for path in (state.container("c"), state.sandbox("s")):
        (path / "record.json").write_bytes(b"")
    assert list(state.containers()) == [("c", None)]
    assert list(state.sandboxes()) == [("s", None)]
