"""The channel protocols of Kubernetes over WebSocket: a message is the number of a channel and bytes for it.

channel.k8s.io          binary; the error channel has plain text
v4.channel.k8s.io       binary; the error channel has a Status
v5.channel.k8s.io       as v4, and 255 followed by a channel's number closes that channel
base64..., v4.base64... text: the number as a digit, the bytes in base64
"""

import base64
import binascii
from dataclasses import dataclass

STDIN, STDOUT, STDERR, ERROR, RESIZE = range(5)
CLOSE = 255


class ChannelError(ValueError):
    """A message that the protocol does not have."""


@dataclass(frozen=True, slots=True)
class ChannelProtocol:
    """One of the protocols. has_status: the error channel ends with a Status. can_close: channels can end singly."""

    name: str
    is_text: bool = False
    has_status: bool = False
    can_close: bool = False

    def encode(self, channel: int, data: bytes) -> bytes | str:
        """A message for a channel."""
        if self.is_text:
            return f"{channel}{base64.b64encode(data).decode()}"
        return bytes((channel,)) + data

    def decode(self, message: bytes | str) -> tuple[int, bytes]:
        """Channel and bytes of a message. Raises ChannelError."""
        if not self.is_text:
            data = message.encode() if isinstance(message, str) else message
            if not data:
                raise ChannelError("a message without a channel")
            return data[0], data[1:]
        text = message if isinstance(message, str) else message.decode("latin-1")
        if not text[:1].isdecimal() or not text.isascii():
            raise ChannelError("a message without a channel")
        try:
            return int(text[0]), base64.b64decode(text[1:], validate=True)
        except binascii.Error as failure:
            raise ChannelError(str(failure)) from failure

    def close(self, channel: int) -> bytes:
        """The message that ends a channel."""
        return bytes((CLOSE, channel))


V5 = ChannelProtocol("v5.channel.k8s.io", has_status=True, can_close=True)
V4 = ChannelProtocol("v4.channel.k8s.io", has_status=True)
V4_BASE64 = ChannelProtocol("v4.base64.channel.k8s.io", is_text=True, has_status=True)
PLAIN = ChannelProtocol("channel.k8s.io")
PLAIN_BASE64 = ChannelProtocol("base64.channel.k8s.io", is_text=True)

COMMANDS = {protocol.name: protocol for protocol in (V5, V4, V4_BASE64, PLAIN, PLAIN_BASE64)}
# A client that names none speaks the first that there was.
UNNAMED_COMMAND = PLAIN
PORTS = {protocol.name: protocol for protocol in (V4, V4_BASE64)}
UNNAMED_PORTS = V4
