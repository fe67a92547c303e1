"""``navarch exec``: a command inside a running container."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

import grpc
import typer

from navarch.cli import options, targets, terminal
from navarch.cli.errors import UsageError
from navarch.cli.pods import choose_container, pods_of
from navarch.cli.session import Session, with_session
from navarch.protos.navarch import node_pb2, node_pb2_grpc
from navarch.services.api.rpc_status import from_rpc

if TYPE_CHECKING:
    from navarch.protos.navarch.node_pb2_grpc import NodeAsyncStub

QUEUED_REQUESTS = 16

Requests = asyncio.Queue[node_pb2.ExecRequest]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("exec")(execute)


def execute(
    words: Annotated[
        list[str], typer.Argument(help="POD or TYPE/NAME, then -- COMMAND [ARGS...]", metavar="POD -- COMMAND")
    ],
    container: options.Container = "",
    namespace: options.Namespace = "",
    stdin: Annotated[bool, typer.Option("--stdin", "-i", help="Pass standard input on.")] = False,
    tty: Annotated[bool, typer.Option("--tty", "-t", help="Give the command a terminal.")] = False,
    kubeconfig: options.Kubeconfig = None,
) -> None:
    """Run a command in a container; its exit code becomes ours. What follows -- belongs to the command."""
    target, command = targets.parse_one(words[:1]), words[1:]
    if not command:
        raise UsageError(f"which command? navarch exec {words[0]} -- COMMAND")
    has_terminal = tty and sys.stdin.isatty()
    if tty and not has_terminal:
        print("Unable to use a TTY - input is not a terminal", file=sys.stderr)

    async def work(session: Session) -> int:
        pod = (await pods_of(session, target.within(session.namespace(namespace))))[0]
        start = node_pb2.ExecStart(
            namespace=pod.metadata.namespace,
            pod=pod.metadata.name,
            container=choose_container(pod, container),
            command=command,
            stdin=stdin,
            tty=has_terminal,
        )
        with terminal.raw(has_terminal):
            return await _stream(node_pb2_grpc.NodeStub(session.client.channel), start)

    code = with_session(kubeconfig, work)
    if code:
        print(f"command terminated with exit code {code}", file=sys.stderr)
        raise typer.Exit(code)


async def _stream(stub: "NodeAsyncStub", start: node_pb2.ExecStart) -> int:
    code: int | None = None
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
    if code is None:
        raise UsageError("the connection to the container ended before the command did")
    return code


async def _requests(start: node_pb2.ExecStart) -> AsyncIterator[node_pb2.ExecRequest]:
    """What is sent: the command, then input and changes of the terminal's size as they come."""
    yield node_pb2.ExecRequest(start=start)
    if start.tty:
        yield terminal.size()
    if not start.stdin:
        return
    queue = Requests(QUEUED_REQUESTS)
    loop = asyncio.get_running_loop()
    if start.tty:
        loop.add_signal_handler(signal.SIGWINCH, _resized, queue)
    reading = asyncio.create_task(_read_stdin(queue))
    try:
        while True:
            request = await queue.get()
            yield request
            if request.close_stdin:
                return
    finally:
        reading.cancel()


def _resized(queue: Requests) -> None:
    if not queue.full():
        queue.put_nowait(terminal.size())


async def _read_stdin(queue: Requests) -> None:
    try:
        async for data in terminal.stdin_chunks():
            await queue.put(node_pb2.ExecRequest(stdin=data))
    finally:
        await queue.put(node_pb2.ExecRequest(close_stdin=True))
