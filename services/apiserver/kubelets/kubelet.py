"""What a kubelet can be asked."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from google.protobuf.message import Message

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import node_pb2

Inputs = AsyncIterator[node_pb2.ExecRequest]


@dataclass(frozen=True, slots=True)
class Command:
    """A process to talk to. command: empty for the container's own (attach). stdout, stderr: which output is wanted."""

    namespace: str
    pod: str
    container: str
    command: tuple[str, ...] = ()
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    tty: bool = False


class Kubelet(Protocol):
    """One node's kubelet. Everything raises ApiError where it refuses or cannot be reached."""

    def logs(
        self, namespace: str, pod: str, options: corev1.PodLogOptions, *, insecure: bool = False
    ) -> AsyncIterator[bytes]:
        """The log of a container; an empty piece first, once the kubelet has agreed to give it.

        insecure: its certificate need not be the authority's.
        """
        ...

    def run(self, command: Command, inputs: Inputs) -> AsyncIterator[node_pb2.ExecResponse]:
        """Run a command, or attach; the last answer is the exit code, where it is known."""
        ...

    def forward(self, namespace: str, pod: str, port: int, inputs: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """One connection to a port of a Pod. The end of the inputs half-closes it."""
        ...

    async def ask(self, rpc: str, request: Message) -> Message:
        """The answer of a unary RPC of `navarch.v1.Node`, by its name."""
        ...
