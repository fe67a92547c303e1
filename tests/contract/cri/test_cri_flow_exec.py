"""Commands in containers that don't end as everybody hopes."""

import asyncio

from navarch.testing.cri_client import until

from .conftest import Code, Peer, refused


async def runs(cri: Peer, container: str, word: str) -> bool:
    """Whether a process with this word in its command is in the container. word: in brackets in part: `[s]leep`."""
    return (await cri.exec(container, "sh", "-c", f"ps | grep -q '{word}'")).exit_code == 0


async def test_what_a_command_leaves_behind_does_not_keep_its_answer(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    answer = await cri.exec(container, "sh", "-c", "sleep 4 & echo started")
    assert (answer.stdout, answer.exit_code) == (b"started\n", 0)


async def test_a_command_that_writes_without_end_times_out(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    with refused(Code.DEADLINE_EXCEEDED):
        await cri.exec(container, "yes", "endless", timeout_s=1)

    async def gone() -> bool:
        return not await runs(cri, container, "[e]ndless")

    await until(gone)


async def test_the_command_of_a_client_that_gave_up_is_ended(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    call = asyncio.ensure_future(cri.exec(container, "sleep", "4711", timeout_s=0))
    await until(lambda: runs(cri, container, "[s]leep 4711"))
    call.cancel()

    async def gone() -> bool:
        return not await runs(cri, container, "[s]leep 4711")

    await until(gone)


async def test_a_command_ends_with_its_container(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    command = asyncio.ensure_future(cri.exec(container, "sleep", "4712", timeout_s=0))
    await until(lambda: runs(cri, container, "[s]leep 4712"))
    await cri.stop_container(container, 0)
    assert (await command).exit_code == 137


async def test_many_at_once_keep_their_output_apart(cri: Peer) -> None:
    container = await cri.container(await cri.sandbox())
    answers = await asyncio.gather(*(cri.exec(container, "sh", "-c", f"echo {n}; exit {n}") for n in range(10)))
    assert [(a.stdout, a.exit_code) for a in answers] == [(b"%d\n" % n, n) for n in range(10)]
