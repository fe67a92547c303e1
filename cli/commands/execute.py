"""``navarch exec``: a command inside a running container."""

import asyncio
import os
import shutil
import signal
import sys
import termios
import tty as terminal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Annotated

import grpc
import typer

from navarch.cli import options, targets
from navarch.cli.cluster.layout import UsageError
from navarch.cli.commands.logs import pod_of
from navarch.cli.session import Session, with_session
from navarch.protos.navarch import node_pb2, node_pb2_grpc
from navarch.services.api.rpc_status import from_rpc

CHUNK_BYTES = 32 << 10


def register(app: typer.Typer) -> None:
    """Add the command; what follows ``--`` belongs to the container."""
    app.command("exec", context_settings={"allow_interspersed_args": False})(execute)


def execute(
    words: Annotated[list[str], typer.Argument(help="POD or TYPE/NAME, then -- COMMAND [ARGS...]")],
    container: options.Container = "",
    namespace: options.Namespace = "default",
    stdin: Annotated[bool, typer.Option("--stdin", "-i", help="Pass standard input on.")] = False,
    tty: Annotated[bool, typer.Option("--tty", "-t", help="Give the command a terminal.")] = False,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Run a command in a container; its exit code becomes ours."""
    target = targets.parse_one(words[:1])
    command = words[2:] if words[1:2] == ["--"] else words[1:]
    if not command:
        raise UsageError("which command? navarch exec POD -- COMMAND")

    async def work(session: Session) -> int:
        pod = await pod_of(session, target, namespace)
        start = node_pb2.ExecStart(
            namespace=namespace,
            pod=pod.metadata.name,
            container=container or pod.spec.containers[0].name,
            command=command,
            stdin=stdin,
            tty=tty,
        )
        stub = node_pb2_grpc.NodeStub(session.client.channel)
        return await _stream(stub, start)

    with _raw_terminal(tty and sys.stdin.isatty()):
        code = with_session(kubeconfig, work)
    if code:
        raise typer.Exit(code)


async def _stream(stub: "node_pb2_grpc.NodeAsyncStub", start: node_pb2.ExecStart) -> int:
    code = 0
    try:
        async for response in stub.Exec(_requests(start)):
            match response.WhichOneof("response"):
                case "stdout":
                    sys.stdout.buffer.write(response.stdout)
                    sys.stdout.flush()
                case "stderr":
                    sys.stderr.buffer.write(response.stderr)
                    sys.stderr.flush()
                case "exit_code":
                    code = response.exit_code
    except grpc.aio.AioRpcError as error:
        raise from_rpc(error) from error
    return code


async def _requests(start: node_pb2.ExecStart) -> AsyncIterator[node_pb2.ExecRequest]:
    yield node_pb2.ExecRequest(start=start)
    queue: asyncio.Queue[node_pb2.ExecRequest | None] = asyncio.Queue(16)
    loop = asyncio.get_running_loop()
    if start.tty:
        _resize(queue)
        loop.add_signal_handler(signal.SIGWINCH, _resize, queue)
    if start.stdin:
        reading = asyncio.create_task(_read_stdin(queue))
    elif not start.tty:
        return
    try:
        while (request := await queue.get()) is not None:
            yield request
    finally:
        if start.stdin:
            reading.cancel()


def _resize(queue: "asyncio.Queue[node_pb2.ExecRequest | None]") -> None:
    size = shutil.get_terminal_size()
    if not queue.full():
        resize = node_pb2.TerminalSize(width=size.columns, height=size.lines)
        queue.put_nowait(node_pb2.ExecRequest(resize=resize))


async def _read_stdin(queue: "asyncio.Queue[node_pb2.ExecRequest | None]") -> None:
    while data := await asyncio.to_thread(os.read, sys.stdin.fileno(), CHUNK_BYTES):
        await queue.put(node_pb2.ExecRequest(stdin=data))
    await queue.put(node_pb2.ExecRequest(close_stdin=True))


@contextmanager
def _raw_terminal(wanted: bool) -> Iterator[None]:
    if not wanted:
        yield
        return
    saved = termios.tcgetattr(sys.stdin)
    terminal.setraw(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, saved)
