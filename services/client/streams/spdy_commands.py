"""Exec and attach over SPDY/3.1: a stream for each of error, stdin, stdout, stderr and resize, opened by the client.

    v4.channel.k8s.io    the error stream ends with a Status
    v3, v2, v1, none     it has plain text, and is only written to where there is an error; before v3 nothing resizes

Source: Kubernetes' remote command protocols, as kubectl and crictl speak them.
"""

import asyncio
from dataclasses import dataclass

from navarch.protos.navarch import node_pb2
from navarch.services.client.streams import channels, outcomes, spdy
from navarch.services.client.streams.serving import Feed, RunCommand, Wanted, outcome, terminal_size
from navarch.services.client.streams.wires import Wire

# The first that the client names counts, so the order is the client's.
PROTOCOLS = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
# How long the client may take to open what it wants.
STREAMS_S = 30.0
# No frame of ours is larger, so that streams take turns.
PIECE_BYTES = 32 << 10
SIZES_BYTES = 4096
_CHANNELS = {
    "error": channels.ERROR,
    "stdin": channels.STDIN,
    "stdout": channels.STDOUT,
    "stderr": channels.STDERR,
    "resize": channels.RESIZE,
}


@dataclass(frozen=True, slots=True)
class Form:
    """What the protocol that was agreed on has. "" for a client that names none."""

    name: str

    @property
    def has_status(self) -> bool:
        """Whether the error stream ends with a Status."""
        return self.name == PROTOCOLS[0]

    @property
    def has_resize(self) -> bool:
        """Whether terminals change their size."""
        return self.name in PROTOCOLS[:2]


class SpdyCommand:
    """The streams of one process."""

    def __init__(self, wire: Wire, form: Form, wanted: Wanted, run: RunCommand) -> None:
        self._wire = wire
        self._form = form
        self._wanted = wanted
        self._run = run
        self._spdy = spdy.Connection()
        self._sending = asyncio.Lock()
        self._expected = {channels.ERROR}
        for channel, is_wanted in (
            (channels.STDIN, wanted.stdin),
            (channels.STDOUT, wanted.stdout),
            (channels.STDERR, wanted.stderr),
            (channels.RESIZE, wanted.tty and form.has_resize),
        ):
            if is_wanted:
                self._expected.add(channel)
        # Channel -> stream, and back.
        self._streams: dict[int, int] = {}
        self._channels: dict[int, int] = {}
        self._complete = asyncio.Event()
        self._feed: Feed[node_pb2.ExecRequest] = Feed()
        self._sizes = b""

    async def serve(self) -> None:
        """Until the process ends or the client leaves. Raises SpdyError, TimeoutError, ConnectionError."""
        reading, working = asyncio.ensure_future(self._read()), asyncio.ensure_future(self._work())
        try:
            await asyncio.wait((reading, working), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (reading, working):
                task.cancel()
            self._feed.close()
            ends = await asyncio.gather(reading, working, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _read(self) -> None:
        async for data in self._wire:
            for event in self._spdy.receive(data):
                await self._handle(event)

    async def _handle(self, event: spdy.Event) -> None:
        match event:
            case spdy.Opened():
                await self._open(event)
            case spdy.Data(stream, content, ends):
                await self._take(self._channels.get(stream), content, ends=ends)
            case spdy.WasReset(stream) if self._channels.get(stream) == channels.STDIN:
                await self._take(channels.STDIN, b"", ends=True)
            case spdy.Ping(number) if event.is_of_client:
                await self._send(spdy.ping(number))

    async def _open(self, event: spdy.Opened) -> None:
        channel = _CHANNELS.get(event.headers.get("streamtype", ""), -1)
        if channel not in self._expected or channel in self._streams:
            await self._send(spdy.reset(event.stream, spdy.Reset.REFUSED_STREAM))
            return
        self._streams[channel], self._channels[event.stream] = event.stream, channel
        await self._send(self._spdy.reply(event.stream))
        if channel == channels.STDIN and event.ends:
            await self._take(channel, b"", ends=True)
        if self._streams.keys() == self._expected:
            self._complete.set()

    async def _take(self, channel: int | None, content: bytes, *, ends: bool) -> None:
        if channel == channels.STDIN:
            # Room for what comes before the process runs is bounded: then the client waits, with all its streams.
            if content:
                await self._feed.put(node_pb2.ExecRequest(stdin=content))
            if ends:
                await self._feed.put(node_pb2.ExecRequest(close_stdin=True))
        elif channel == channels.RESIZE:
            *whole, self._sizes = (self._sizes + content).split(b"\n")
            if len(self._sizes) > SIZES_BYTES:
                raise spdy.SpdyError(f"a terminal's size of more than {SIZES_BYTES} bytes")
            for line in whole:
                if (size := terminal_size(line)) is not None:
                    await self._feed.put(node_pb2.ExecRequest(resize=size))

    async def _work(self) -> None:
        async with asyncio.timeout(STREAMS_S):
            await self._complete.wait()
        status = await outcome(self._write, self._wanted, self._run(aiter(self._feed)))
        if self._form.has_status:
            await self._write(channels.ERROR, outcomes.to_bytes(status))
        elif status.status != "Success":
            await self._write(channels.ERROR, status.message.encode())
        for stream in self._streams.values():
            await self._send(spdy.data(stream, b"", ends=True))
        await self._send(spdy.go_away(max(self._channels)))

    async def _write(self, channel: int, content: bytes) -> None:
        for begin in range(0, len(content), PIECE_BYTES):
            await self._send(spdy.data(self._streams[channel], content[begin : begin + PIECE_BYTES]))

    async def _send(self, frame: bytes) -> None:
        # Headers are compressed in the order of their making, so that frames have to leave in it, too.
        async with self._sending:
            await self._wire.send(frame)
