"""Network configurations, and the execution of plugins: here small shell scripts."""

import json
from pathlib import Path
from typing import Any

import pytest

from navarch.runtime_shim import errors
from navarch.runtime_shim.containerd.cni import Attachment, Executor, NetworkConfig, addresses, load_config

ATTACHMENT = Attachment("s1", "/run/ns/net", "default", "web", "uid-1")
CONFIG = NetworkConfig.read(
    {
        "cniVersion": "1.0.0",
        "name": "net",
        "plugins": [{"type": "first", "mtu": 1400}, {"type": "second", "capabilities": {"portMappings": True}}],
    }
)


def plugin(folder: Path, name: str, script: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def recording(folder: Path, name: str, answer: dict[str, Any]) -> None:
    """A plugin that notes what it was given and answers."""
    call = f"{name}.$CNI_COMMAND"
    script = f"cd {folder}; cat > {call}.stdin; env > {call}.env; echo {name} $CNI_COMMAND >> calls\n"
    plugin(folder, name, script + f"echo '{json.dumps(answer)}'")


def given(folder: Path, name: str, command: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / f"{name}.{command}.stdin").read_text())
    return document


async def test_add_chains_and_del_runs_backwards(tmp_path: Path) -> None:
    recording(tmp_path, "first", {"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.2/24"}]})
    recording(tmp_path, "second", {"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.3/24"}]})
    executor = Executor([Path("/nowhere"), tmp_path])
    ports = {"portMappings": [{"hostPort": 80}], "dns": None}
    result = await executor.add(CONFIG, ATTACHMENT, ports)
    assert addresses(result) == ("10.0.0.3",)
    first, second = given(tmp_path, "first", "ADD"), given(tmp_path, "second", "ADD")
    assert first == {"type": "first", "mtu": 1400, "name": "net", "cniVersion": "1.0.0"}
    assert second["prevResult"]["ips"] == [{"address": "10.0.0.2/24"}]
    assert second["runtimeConfig"] == {"portMappings": [{"hostPort": 80}]}
    environment = (tmp_path / "first.ADD.env").read_text()
    for line in (
        "CNI_CONTAINERID=s1",
        "CNI_NETNS=/run/ns/net",
        "CNI_IFNAME=eth0",
        f"CNI_PATH=/nowhere:{tmp_path}",
        "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;"
        "K8S_POD_INFRA_CONTAINER_ID=s1;K8S_POD_UID=uid-1",
    ):
        assert line in environment.splitlines()
    await executor.delete(CONFIG, ATTACHMENT, ports, result)
    assert given(tmp_path, "first", "DEL")["prevResult"] == result
    calls = ["first ADD", "second ADD", "second DEL", "first DEL"]
    assert (tmp_path / "calls").read_text().splitlines() == calls


@pytest.mark.parametrize(
    ("plugin_of", "capabilities", "runs"),
    [
        pytest.param({"type": "portmap"}, {}, False, id="portmap, no host ports"),
        pytest.param({"type": "portmap"}, {"portMappings": [{"hostPort": 80}]}, True, id="portmap, host ports"),
        pytest.param({"type": "bandwidth"}, {"bandwidth": {}}, False, id="bandwidth, no limits"),
        pytest.param({"type": "bandwidth"}, {"bandwidth": {"ingressRate": 1}}, True, id="bandwidth, a Pod's limit"),
        pytest.param({"type": "bandwidth", "egressRate": 1}, {}, True, id="bandwidth, a limit for all"),
        pytest.param({"type": "tuning"}, {}, True, id="another"),
    ],
)
async def test_plugins_without_work_cost_no_process(
    tmp_path: Path, plugin_of: dict[str, Any], capabilities: dict[str, Any], runs: bool
) -> None:
    recording(tmp_path, plugin_of["type"], {})
    config = NetworkConfig.read({"cniVersion": "1.0.0", "name": "net", "plugins": [plugin_of]})
    await Executor([tmp_path]).add(config, ATTACHMENT, capabilities)
    assert (tmp_path / "calls").exists() is runs


async def test_a_failing_del_does_not_spare_the_others(tmp_path: Path) -> None:
    recording(tmp_path, "first", {})
    plugin(tmp_path, "second", """echo '{"code": 7, "msg": "no", "details": "because"}'; exit 1""")
    with pytest.raises(errors.RuntimeFailure, match="CNI plugin second DEL: no: because"):
        await Executor([tmp_path]).delete(CONFIG, ATTACHMENT, {}, None)
    assert (tmp_path / "calls").read_text() == "first DEL\n"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo broken >&2; exit 3", "first ADD: broken"),
        ("exit 3", "first ADD: exit code 3"),
        ("kill -9 $$", "first ADD: exit code 137"),
        ("echo '{not json'", "not JSON"),
        ("echo [1]", "not a JSON object"),
    ],
)
async def test_failures_in_the_plugin_s_own_words(tmp_path: Path, script: str, words: str) -> None:
    plugin(tmp_path, "first", script)
    with pytest.raises(errors.RuntimeFailure, match=words):
        await Executor([tmp_path]).add(CONFIG, ATTACHMENT, {})


async def test_a_plugin_that_hangs_is_killed(tmp_path: Path) -> None:
    plugin(tmp_path, "first", f"echo $$ > {tmp_path}/pid; exec sleep 1000")
    with pytest.raises(errors.DeadlineExceeded, match=r"no answer in 0\.3 s"):
        await Executor([tmp_path], timeout_s=0.3).add(CONFIG, ATTACHMENT, {})
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


async def test_a_plugin_that_is_not_installed(tmp_path: Path) -> None:
    with pytest.raises(errors.RuntimeFailure, match="CNI plugin first is not installed"):
        await Executor([tmp_path]).add(CONFIG, ATTACHMENT, {})


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"plugins": [{"type": "x"}]}, "needs a name"),
        ({"name": "n", "plugins": []}, "plugins with a type"),
        ({"name": "n", "plugins": [{}]}, "plugins with a type"),
        ({"name": "n", "type": "../x"}, "not a path"),
        ({"name": "n", "type": "x", "cniVersion": "0.2.0"}, "unknown CNI version 0.2.0"),
    ],
)
def test_broken_configurations(document: dict[str, Any], words: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=words):
        NetworkConfig.read(document)


def test_the_first_file_counts_and_broken_ones_are_named(tmp_path: Path) -> None:
    assert load_config(tmp_path / "nosuch") is None
    assert load_config(tmp_path) is None
    (tmp_path / "20.conf").write_text('{"name": "lone", "type": "bridge"}')
    (tmp_path / "README").write_text("not json")
    config = load_config(tmp_path)
    assert config is not None
    assert (config.name, [plugin["type"] for plugin in config.plugins]) == ("lone", ["bridge"])
    assert NetworkConfig.read(config.document()) == config
    (tmp_path / "10.conflist").write_text("{")
    with pytest.raises(errors.InvalidArgument, match=r"10\.conflist"):
        load_config(tmp_path)


def test_addresses_are_the_pod_s_only() -> None:
    result = {
        "interfaces": [{"name": "br0"}, {"name": "eth0", "sandbox": "/run/ns/net"}],
        "ips": [
            {"address": "10.0.0.1/24", "interface": 0},
            {"address": "10.0.0.5/24", "interface": 1},
            {"address": "fd00::5/64", "interface": 1},
        ],
    }
    assert addresses(result) == ("10.0.0.5", "fd00::5")
    assert addresses({}) == ()


@pytest.mark.parametrize(("version", "told"), [("0.3.1", False), ("0.4.0", True), ("1.1.0", True)])
async def test_del_is_given_the_result_by_versions_that_know_it(tmp_path: Path, version: str, told: bool) -> None:
    recording(tmp_path, "first", {})
    config = NetworkConfig.read({"cniVersion": version, "name": "net", "type": "first"})
    result = {"cniVersion": version, "ips": []}
    await Executor([tmp_path]).delete(config, ATTACHMENT, {}, result)
    assert given(tmp_path, "first", "DEL").get("prevResult") == (result if told else None)


@pytest.mark.parametrize(
    ("document", "version"),
    [
        ({}, "0.3.1"),
        ({"cniVersion": "1.0.0"}, "1.0.0"),
        ({"cniVersions": ["0.4.0", "1.1.0", "9.0.0"]}, "1.1.0"),
        ({"cniVersion": "0.4.0", "cniVersions": ["1.0.0"]}, "1.0.0"),
    ],
)
def test_the_version(document: dict[str, Any], version: str) -> None:
    assert NetworkConfig.read({"name": "net", "type": "first", **document}).version == version


async def test_gc_names_what_is_valid(tmp_path: Path) -> None:
    recording(tmp_path, "first", {})
    for version, expected in (("1.0.0", False), ("1.1.0", True)):
        config = NetworkConfig.read({"cniVersion": version, "name": "net", "type": "first"})
        await Executor([tmp_path]).collect(config, ["s1"])
        assert (tmp_path / "first.GC.stdin").exists() is expected
    attachments = [{"containerID": "s1", "ifname": "eth0"}]
    assert given(tmp_path, "first", "GC")["cni.dev/valid-attachments"] == attachments
    (tmp_path / "first.GC.stdin").unlink()
    disabled = NetworkConfig.read({"cniVersion": "1.1.0", "name": "net", "disableGC": True, "type": "first"})
    assert NetworkConfig.read(disabled.document()) == disabled
    await Executor([tmp_path]).collect(disabled, ["s1"])
    assert not (tmp_path / "first.GC.stdin").exists()


async def test_status_in_the_plugin_s_own_words(tmp_path: Path) -> None:
    plugin(tmp_path, "first", """[ $CNI_COMMAND = STATUS ] && echo '{"code": 50, "msg": "no daemon"}' && exit 1""")
    for version in ("1.0.0", "1.1.0"):
        config = NetworkConfig.read({"cniVersion": version, "name": "net", "type": "first"})
        if version == "1.0.0":
            await Executor([tmp_path]).check_status(config)
        else:
            with pytest.raises(errors.RuntimeFailure, match="first STATUS: no daemon"):
                await Executor([tmp_path]).check_status(config)


@pytest.mark.parametrize("found", [["10.0.0.1"], [{}], [{"address": "x/24"}], {"address": 1}, 5])
def test_addresses_that_make_no_sense(found: Any) -> None:
    with pytest.raises(errors.RuntimeFailure, match="make no sense"):
        addresses({"ips": found})
