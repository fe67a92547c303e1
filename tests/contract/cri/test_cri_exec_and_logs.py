"""ExecSync, ReopenContainerLog, and what is in a log."""

import re
from pathlib import Path

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.testing.cri_client import until

from .conftest import Code, Peer, differs, refused

NO_CODE = "the plugin's error has no code"
RECORD = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d) (stdout|stderr) [FP] .*")


async def reopen(cri: Peer, container_id: str) -> None:
    await cri.runtime.ReopenContainerLog(criv1.ReopenContainerLogRequest(container_id=container_id))


async def test_exec_tells_output_and_exit_code(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    answer = await cri.exec(container, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (answer.stdout, answer.stderr, answer.exit_code) == (b"out\n", b"err\n", 7)
    answer = await cri.exec(container[:12], "true")
    assert (answer.stdout, answer.stderr, answer.exit_code) == (b"", b"", 0)


async def test_exec_output_is_bytes(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    answer = await cri.exec(container, "sh", "-c", r"printf '\000\377\r\n'; head -c 1000000 /dev/zero >&2")
    assert answer.stdout == b"\0\xff\r\n"
    assert answer.stderr == bytes(1000000)


@differs("plugin", reason="it caps each stream at 16 MiB, and then can't send the answer")
async def test_exec_output_fits_into_a_message(cri: Peer) -> None:
    """CRI: the runtime caps the output at 16 MB; a kubelet takes no more in one message."""
    container = await cri.container(await cri.sandbox())
    script = "head -c 20000000 /dev/zero; head -c 20000000 /dev/zero >&2; exit 3"
    request = criv1.ExecSyncRequest(container_id=container, cmd=["sh", "-c", script], timeout=60)
    answer = await cri.runtime.ExecSync(request)
    assert answer.exit_code == 3
    assert len(answer.stdout) + len(answer.stderr) <= 16 << 20
    assert len(answer.stdout) > 7 << 20


async def test_exec_times_out_and_its_process_is_killed(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    with refused(Code.DEADLINE_EXCEEDED, match="exceeded|timed out"):
        await cri.exec(container, "sleep", "4711", timeout_s=1)

    async def gone() -> bool:
        return (await cri.exec(container, "sh", "-c", "ps | grep -q [4]711")).exit_code == 1

    await until(gone)


async def test_a_timeout_below_zero_is_none(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    assert (await cri.exec(container, "sleep", "0.1", timeout_s=-1)).exit_code == 0


async def test_exec_has_identity_environment_and_folder_of_the_container(cri: Peer) -> None:
    config = cri.container_config()
    config.envs.add(key="GREETING", value=b"hello")
    config.working_dir = "/tmp"
    config.linux.security_context.run_as_user.value = 1000
    container = await cri.container(await cri.sandbox(), config)
    assert await cri.shell(container, 'echo "$GREETING $PWD $(id -u)"') == "hello /tmp 1000\n"


async def test_exec_of_what_does_not_exist(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    with refused(Code.NOT_FOUND, Code.UNKNOWN, match="executable file not found"):
        await cri.exec(container, "nosuch")


async def test_exec_needs_a_command_and_a_container_that_runs(cri: Peer) -> None:
    sandbox = await cri.sandbox()
    container = await cri.create(sandbox)
    code = cri.where(shim=Code.FAILED_PRECONDITION, plugin=Code.UNKNOWN, because=NO_CODE)
    with refused(code):
        await cri.exec(container, "true")
    await cri.runtime.StartContainer(criv1.StartContainerRequest(container_id=container))
    invalid = cri.where(shim=Code.INVALID_ARGUMENT, plugin=Code.UNKNOWN, because="the plugin hands it on to runc")
    with refused(invalid):
        await cri.exec(container)
    await cri.stop_container(container)
    with refused(code):
        await cri.exec(container, "true")
    with refused(Code.NOT_FOUND):
        await cri.exec("nosuch", "true")


async def test_log_records(cri: Peer) -> None:
    script = "echo out; echo err >&2; echo; printf unfinished"
    container = await cri.container(await cri.sandbox(), cri.container_config("sh", "-c", script))
    await cri.exited(container)
    written = Path((await cri.status(container)).log_path).read_text()
    assert all(RECORD.fullmatch(line) for line in written.splitlines()), written
    records = await cri.log(container)
    assert ("stderr", "F", "err") in records
    assert [r for r in records if r[0] == "stdout"] == [
        ("stdout", "F", "out"),
        ("stdout", "F", ""),
        ("stdout", "P", "unfinished"),
    ]


async def test_long_lines_are_logged_in_parts(cri: Peer) -> None:
    script = "head -c 40000 /dev/zero | tr '\\0' x; echo; echo end"
    container = await cri.container(await cri.sandbox(), cri.container_config("sh", "-c", script))
    await cri.exited(container)
    records = await cri.log(container)
    assert [(tag, len(text)) for _, tag, text in records] == [("P", 16384), ("P", 16384), ("F", 7232), ("F", 3)]


async def test_no_log_without_a_path(cri: Peer) -> None:
    config = cri.container_config("echo", "lost")
    config.log_path = ""
    container = await cri.container(await cri.sandbox(), config)
    status = await cri.exited(container)
    assert (status.exit_code, status.log_path) == (0, "")


async def test_reopen_goes_on_in_a_new_file(cri: Peer) -> None:
    script = "echo one; while :; do [ -e /tmp/go ] && break; sleep 0.02; done; echo two"
    container = await cri.container(await cri.sandbox(), cri.container_config("sh", "-c", script))
    log = Path((await cri.status(container)).log_path)
    await until(lambda: cri.log(container))
    rotated = log.rename(log.with_name("rotated.log"))
    await reopen(cri, container)
    assert log.exists()
    await cri.exec(container, "touch", "/tmp/go")
    await cri.exited(container)
    assert rotated.read_text().endswith(" stdout F one\n")
    assert [text for _, _, text in await cri.log(container)] == ["two"]


async def test_reopen_needs_a_container_that_runs(cri: Peer) -> None:
    container = await cri.create(await cri.sandbox())
    code = cri.where(shim=Code.FAILED_PRECONDITION, plugin=Code.UNKNOWN, because=NO_CODE)
    with refused(code, match="not running"):
        await reopen(cri, container)
    with refused(Code.NOT_FOUND):
        await reopen(cri, "nosuch")


@pytest.mark.parametrize("tty", [False, True])
async def test_a_terminal_joins_the_streams(cri: Peer, tty: bool) -> None:
    config = cri.container_config("sh", "-c", "echo out; echo err >&2; tty")
    config.tty = tty
    container = await cri.container(await cri.sandbox(), config)
    await cri.exited(container)
    records = await cri.log(container)
    assert {stream for stream, _, _ in records} == ({"stdout"} if tty else {"stdout", "stderr"})
    assert any("/dev/" in text for _, _, text in records) == tty
