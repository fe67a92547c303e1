"""gRPC channels, the same for every client; apart from serving, which is slow to load."""

import grpc

from navarch.services.base.credentials import Credentials

MESSAGE_BYTES = 64 << 20
# A Status with many causes travels in trailing metadata, whose default limit is 8 KiB.
METADATA_BYTES = 256 << 10

COMMON_OPTIONS = [
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.max_metadata_size", METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", 2 * METADATA_BYTES),
    # A peer that vanished without closing is noticed within 30 s; at rest that is one small packet each way.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_pings_without_data", 0),
]
_CHANNEL_OPTIONS = [
    *COMMON_OPTIONS,
    ("grpc.initial_reconnect_backoff_ms", 50),
    # Whoever restarts is found again soon; an attempt costs little next to what waits for it.
    ("grpc.max_reconnect_backoff_ms", 500),
    # Despite its name: how long one attempt to connect may take.
    ("grpc.min_reconnect_backoff_ms", 5_000),
    ("grpc.enable_http_proxy", 0),
    # A channel that was closed is not to leave its broken connection to the next one with this address.
    ("grpc.use_local_subchannel_pool", 1),
]


def channel(address: str, credentials: Credentials | None, *, user_agent: str = "") -> grpc.aio.Channel:
    """A channel to "host:port" or "unix:/path" that reconnects quickly. None: plain text.

    Several servers that are each as good: "ipv4:10.0.0.1:7443,10.0.0.2:7443".
    """
    options = [*_CHANNEL_OPTIONS, *([("grpc.primary_user_agent", user_agent)] if user_agent else [])]
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=options)
    return grpc.aio.secure_channel(address, credentials.channel(), options=options)
