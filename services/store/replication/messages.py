"""pysyncobj's messages as protobuf and back. No I/O.

pysyncobj speaks in dictionaries, which its own transport pickles; between our members only `RaftMessage` travels.
What it lacks (a term on replies, rounds, pre-votes) is in the envelope and added by the node.
"""

from collections.abc import Sequence
from typing import Any

from navarch.protos.navarch import store_pb2 as pb
from navarch.services.store.replication.journal import LogEntry

Dictionary = dict[str, Any]


class Encoder:
    """Makes appends. Those for several followers are alike more often than not, and made once."""

    def __init__(self) -> None:
        self._append_key: tuple[int, ...] = ()
        self._append = pb.RaftMessage()

    def append(
        self,
        term: int,
        previous: tuple[int, int],
        entries: Sequence[LogEntry],
        commit: int,
        round_: int,
        *,
        quiet: bool = False,
    ) -> pb.RaftMessage:
        """An AppendEntries; previous: index and term. Without a previous entry it only shows that the leader lives."""
        key = (term, *previous, len(entries), commit, round_, quiet)
        if key != self._append_key:
            append = pb.AppendEntries(
                prev_index=previous[0],
                prev_term=previous[1],
                commit_index=commit,
                entries=[pb.Entry(index=index, term=term, data=data) for data, index, term in entries],
                round=round_,
                quiet=quiet,
            )
            self._append_key, self._append = key, pb.RaftMessage(term=term, append=append)
        return self._append


def append_reply(message: Dictionary, term: int, round_: int) -> pb.RaftMessage:
    """A follower's answer about its log."""
    reply = pb.AppendReply(
        next_index=message["next_node_idx"], reset=message["reset"], success=message["success"], round=round_
    )
    return pb.RaftMessage(term=term, append_reply=reply)


def forward_reply(message: Dictionary, term: int) -> pb.RaftMessage:
    """What became of a forwarded proposal: its place in the log, or why it has none."""
    reply = pb.ForwardReply(
        request_id=message["request_id"],
        failure=message.get("error") or 0,
        index=message.get("log_idx", 0),
        term=message.get("log_term", 0),
    )
    return pb.RaftMessage(term=term, forward_reply=reply)


def entries_of(append: pb.AppendEntries) -> list[tuple[bytes, int, int]]:
    """The entries of a message as the log keeps them."""
    return [(entry.data, entry.index, entry.term) for entry in append.entries]


def reply_of(reply: pb.ForwardReply) -> Dictionary:
    """A ForwardReply as pysyncobj reads it."""
    answer: Dictionary = {"type": "apply_command_response", "request_id": reply.request_id}
    if reply.failure:
        return {**answer, "error": reply.failure}
    return {**answer, "log_idx": reply.index, "log_term": reply.term}
