"""The channel protocols over WebSocket."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.services.api.errors import ApiError, BadRequest, InternalError
from navarch.services.client.streams import channels, outcomes

EVERY = list(channels.COMMANDS.values())


@pytest.mark.parametrize(
    ("protocol", "channel", "data", "message"),
    [
        (channels.V5, 1, b"hello", b"\x01hello"),
        (channels.V4, 0, b"", b"\x00"),
        (channels.PLAIN, 2, b"\xff\x00", b"\x02\xff\x00"),
        (channels.V4_BASE64, 3, b"hello", "3aGVsbG8="),
        (channels.PLAIN_BASE64, 1, b"", "1"),
    ],
)
def test_messages(protocol: channels.ChannelProtocol, channel: int, data: bytes, message: bytes | str) -> None:
    assert protocol.encode(channel, data) == message
    assert protocol.decode(message) == (channel, data)


@given(st.sampled_from(EVERY), st.integers(0, 9), st.binary())
def test_every_message_comes_back(protocol: channels.ChannelProtocol, channel: int, data: bytes) -> None:
    assert protocol.decode(protocol.encode(channel, data)) == (channel, data)


@given(st.sampled_from(EVERY), st.one_of(st.binary(), st.text()))
def test_whatever_comes_is_decoded_or_refused(protocol: channels.ChannelProtocol, message: bytes | str) -> None:
    try:
        channel, _ = protocol.decode(message)
    except channels.ChannelError:
        return
    assert channel >= 0


def test_a_channel_can_be_closed() -> None:
    assert channels.V5.close(channels.STDIN) == b"\xff\x00"
    assert [protocol.name for protocol in EVERY if protocol.can_close] == ["v5.channel.k8s.io"]


@pytest.mark.parametrize("code", [0, 1, 42, 255])
def test_exit_codes_travel_as_a_status(code: int) -> None:
    assert outcomes.exit_code_of(outcomes.to_bytes(outcomes.exited(code))) == code


def test_success_is_what_clients_look_for() -> None:
    assert outcomes.to_bytes(outcomes.exited(0)) == b'{"metadata":{},"status":"Success"}'


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (outcomes.to_bytes(BadRequest("no such container").to_status()), BadRequest),
        (b"plain words of an old kubelet", InternalError),
        (b"[]", ApiError),
    ],
)
def test_failures_travel_as_a_status(data: bytes, kind: type[ApiError]) -> None:
    with pytest.raises(kind):
        outcomes.exit_code_of(data)
