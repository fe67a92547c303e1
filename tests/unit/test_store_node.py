"""The Raft node by scenario: each test is a short story over a network and disk that do as they are told.

Rules are named by where they stand: the Raft paper (figure 2, section 8), Ongaro's thesis (4.2.3, 6.4, 9.6).
"""

import random
import socket
from collections import defaultdict
from pathlib import Path

import pytest

from navarch.protos.navarch import store_pb2 as pb
from navarch.services.store.errors import BAD_LEADER_TRANSFEREE, LEADER_CHANGED, NOT_LEADER, UNHEALTHY
from navarch.services.store.replication.journal import Journal
from navarch.services.store.replication.log import Member
from navarch.services.store.replication.node import NO_OP, Proposal, RaftNode
from navarch.services.store.replication.segments import SegmentWriter

MEMBERSHIP = b"learner "


class Machine:
    """Keeps the commands. One that begins with MEMBERSHIP adds the learner it names."""

    def __init__(self, members: int) -> None:
        self.applied_index = self.applied_term = 0
        self.members = {number: Member(number, str(number)) for number in range(1, members + 1)}
        self.removed: frozenset[int] = frozenset()
        self.commands: list[bytes] = []

    def apply(self, entries):
        return [self._apply(entry) for entry in entries]

    def _apply(self, entry):
        self.applied_index, self.applied_term = entry.index, entry.term
        if not entry.command:
            return None
        self.commands.append(entry.command)
        if entry.command.startswith(MEMBERSHIP):
            number = int(entry.command[len(MEMBERSHIP) :])
            self.members = {**self.members, number: Member(number, "learner", is_learner=True)}
        return len(self.commands)


class Cluster:
    """Nodes, a network that loses what a cut link carries, disks that are slow when held, and one clock."""

    def __init__(self, folder: Path, members: int = 3) -> None:
        self.folder = folder
        self.now = 0.0
        self.cut: set[tuple[int, int]] = set()
        self.held_disks: set[int] = set()
        self.stuck: dict[int, tuple] = {}
        self.sent: list[tuple[int, int, pb.RaftMessage]] = []
        self.machines = {number: Machine(members) for number in range(1, members + 1)}
        self.nodes: dict[int, RaftNode] = {}
        for number in self.machines:
            self.boot(number)

    def boot(self, number: int) -> RaftNode:
        folder = self.folder / str(number)
        journal = Journal(folder, SegmentWriter(folder, lambda descriptor: None))
        journal.open()
        node = RaftNode(number, journal, self.machines[number], random.Random(number), now=self.now)
        self.nodes[number] = node
        for other in self.nodes:
            if other != number:
                node.connected(other, self.now)
                self.nodes[other].connected(number, self.now)
        return node

    def isolate(self, *numbers: int) -> None:
        """Cut these off from all others, not from one another."""
        self.cut = {(a, b) for a in self.nodes for b in self.nodes if a != b and ((a in numbers) != (b in numbers))}

    def settle(self) -> None:
        """Let everything happen that takes no time."""
        for _ in range(500):
            moved = [self.turn(number) for number in sorted(self.nodes)]
            if not any(moved):
                return
        raise AssertionError("the cluster never comes to rest")

    def turn(self, number: int) -> bool:
        node = self.nodes[number]
        ready = node.step(self.now)
        outgoing = list(ready.messages)
        if ready.batch is not None:
            if number in self.held_disks:
                self.stuck[number] = (ready.batch, ready.after)
            else:
                outgoing += self.flush(number, ready.batch, ready.after)
        node.check_invariants()
        for peer, message in outgoing:
            self.sent.append((number, peer, message))
            if (number, peer) not in self.cut and peer in self.nodes:
                self.nodes[peer].receive(number, pb.RaftMessage.FromString(message.SerializeToString()), self.now)
        return bool(outgoing) or (ready.batch is not None and number not in self.held_disks)

    def flush(self, number: int, batch, after):
        self.nodes[number]._journal.write(batch)
        self.nodes[number].written(batch, self.now)
        return after

    def unstick(self, number: int) -> None:
        self.held_disks.discard(number)
        batch, after = self.stuck.pop(number)
        for peer, message in self.flush(number, batch, after):
            self.nodes[peer].receive(number, message, self.now)
        self.settle()

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += 0.02
            self.settle()

    def elect(self) -> RaftNode:
        """Run until one leads."""
        for _ in range(500):
            if leaders := [node for node in self.nodes.values() if node.is_leader]:
                self.settle()
                return leaders[0]
            self.run(0.02)
        raise AssertionError("nobody is elected")

    def propose(self, node: RaftNode, command: bytes, *, membership: bool = False) -> list:
        answers: list = []
        node.propose(Proposal(command, membership, lambda *answer: answers.append(answer)))
        self.settle()
        return answers

    def read(self, node: RaftNode) -> list[int]:
        answers: list[int] = []
        node.read_index(answers.append)
        self.settle()
        return answers

    def others(self, node: RaftNode) -> list[RaftNode]:
        return [other for other in self.nodes.values() if other is not node]


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster(tmp_path)


def test_one_leader_is_elected_and_all_know_it(cluster: Cluster) -> None:
    leader = cluster.elect()
    assert [node.leader_id for node in cluster.nodes.values()] == [leader.member_id] * 3
    assert {node.term for node in cluster.nodes.values()} == {1}


def test_a_single_member_leads_at_once(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, members=1)
    cluster.settle()
    assert cluster.nodes[1].is_leader
    assert cluster.propose(cluster.nodes[1], b"x") == [(1, None)]
    assert cluster.read(cluster.nodes[1]) == [cluster.nodes[1].applied_index]
    assert cluster.nodes[1].deadline() == float("inf"), "nothing ticks"


@pytest.mark.parametrize("by", ["leader", "follower"])
def test_a_command_is_applied_by_all_and_answered_once(cluster: Cluster, by: str) -> None:
    leader = cluster.elect()
    proposer = leader if by == "leader" else cluster.others(leader)[0]
    assert cluster.propose(proposer, b"x") == [(1, None)]
    assert [machine.commands for machine in cluster.machines.values()] == [[b"x"]] * 3


def test_a_write_costs_a_message_each_way_and_one_that_is_not_answered(cluster: Cluster) -> None:
    leader = cluster.elect()
    cluster.sent.clear()
    cluster.propose(leader, b"x")
    appends = [message.append.quiet for *_, message in cluster.sent if message.HasField("append")]
    replies = [message for *_, message in cluster.sent if message.HasField("append_reply")]
    assert (sorted(appends), len(replies)) == ([False, False, True, True], 2)


def test_without_a_majority_nothing_is_acknowledged_and_the_leader_steps_down(cluster: Cluster) -> None:
    leader = cluster.elect()
    cluster.isolate(leader.member_id)
    answers = cluster.propose(leader, b"lost")
    reads = cluster.read(leader)
    cluster.run(leader.timing.election_max_s + 0.2)
    assert (answers, reads) == ([], [])
    assert not leader.is_leader
    new = next(node for node in cluster.others(leader) if node.is_leader)
    assert cluster.propose(new, b"kept") == [(1, None)]
    cluster.isolate()
    cluster.run(0.5)
    assert answers == [(None, LEADER_CHANGED)], "the entry in its place was another"
    assert [machine.commands for machine in cluster.machines.values()] == [[b"kept"]] * 3
    assert len(reads) == 1, "a read waits for the next leader"


def test_a_returning_member_does_not_disturb_the_leader(cluster: Cluster) -> None:
    """Thesis 9.6: pre-vote; it never raised its term."""
    leader = cluster.elect()
    away = cluster.others(leader)[0]
    cluster.isolate(away.member_id)
    cluster.run(10)
    cluster.isolate()
    cluster.run(2)
    assert leader.is_leader
    assert {node.term for node in cluster.nodes.values()} == {1}
    assert away.leader_id == leader.member_id


def test_a_leader_that_died_is_not_waited_for(cluster: Cluster) -> None:
    """Its connections end; a leader that is only slow keeps them, and the full timeout."""
    leader = cluster.elect()
    heirs = cluster.others(leader)
    del cluster.nodes[leader.member_id]
    for heir in heirs:
        heir.disconnected(leader.member_id, cluster.now)
    began = cluster.now
    cluster.run(0.5)
    assert any(heir.is_leader for heir in heirs)
    assert cluster.now - began < leader.timing.election_min_s


def test_a_connection_that_ends_is_no_reason_while_others_hear_the_leader(cluster: Cluster) -> None:
    leader = cluster.elect()
    follower = cluster.others(leader)[0]
    cluster.cut = {(leader.member_id, follower.member_id)}
    follower.disconnected(leader.member_id, cluster.now)
    cluster.run(3)
    assert (leader.is_leader, leader.term) == (True, 1)


def test_whoever_hears_a_leader_refuses_its_vote(cluster: Cluster) -> None:
    """Thesis 4.2.3, against members that were removed and do not know it."""
    leader = cluster.elect()
    follower, other = cluster.others(leader)
    ballot = pb.VoteRequest(last_index=99, last_term=99)
    follower.receive(other.member_id, pb.RaftMessage(term=9, vote_request=ballot), cluster.now)
    leader.receive(other.member_id, pb.RaftMessage(term=9, vote_request=ballot), cluster.now)
    cluster.settle()
    assert (follower.term, leader.term, leader.is_leader) == (1, 1, True)


def test_a_leader_learns_of_a_higher_term_from_the_reply(cluster: Cluster) -> None:
    leader = cluster.elect()
    follower = cluster.others(leader)[0]
    follower._adopt(7)
    cluster.run(0.2)
    assert leader.term >= 7
    cluster.run(3)
    assert len({node.leader_id for node in cluster.nodes.values()} - {0}) == 1


def test_nothing_is_acknowledged_before_a_majority_has_it_on_disk(cluster: Cluster) -> None:
    leader = cluster.elect()
    first, second = cluster.others(leader)
    cluster.held_disks = {first.member_id, second.member_id}
    answers = cluster.propose(leader, b"x")
    assert answers == []
    cluster.unstick(first.member_id)
    assert answers == [(1, None)]


def test_a_leader_counts_its_own_copy_only_once_it_is_on_disk(cluster: Cluster) -> None:
    leader = cluster.elect()
    cluster.isolate(cluster.others(leader)[0].member_id)
    cluster.held_disks = {leader.member_id}
    answers = cluster.propose(leader, b"x")
    follower = cluster.others(leader)[1]
    assert follower.match_index(0) == 0
    assert leader.match_index(follower.member_id) == leader.last_index, "the follower has it"
    assert (answers, follower.commit_index) == ([], leader.last_index - 1)
    cluster.unstick(leader.member_id)
    assert answers == [(1, None)]


def test_a_vote_leaves_only_once_it_is_on_disk(cluster: Cluster) -> None:
    cluster.held_disks = {1, 2, 3}
    cluster.run(3)
    assert not any(message.HasField("vote_reply") and not message.vote_reply.pre for *_, message in cluster.sent)
    assert not any(node.is_leader for node in cluster.nodes.values())


def test_a_vote_survives_a_restart(cluster: Cluster) -> None:
    leader = cluster.elect()
    voter = next(node for node in cluster.others(leader) if node._journal.voted_for == f"{leader.member_id:x}")
    again = cluster.boot(voter.member_id)
    rival = next(node.member_id for node in cluster.others(again) if node is not leader)
    cluster.sent.clear()
    ballot = pb.VoteRequest(last_index=99, last_term=99, transfer=True)
    again.receive(rival, pb.RaftMessage(term=1, vote_request=ballot), cluster.now)
    cluster.settle()
    assert not any(message.vote_reply.granted for *_, message in cluster.sent)


def test_a_voter_that_is_alone_sends_nothing_before_its_vote_is_on_disk(tmp_path: Path) -> None:
    """It leads at once; after a crash it would lead the same term again, with other entries."""
    cluster = Cluster(tmp_path, members=1)
    cluster.machines[1].members = {1: Member(1, "1"), 4: Member(4, "4", is_learner=True)}
    cluster.nodes[1].members_changed(cluster.now)
    cluster.nodes[1].connected(4, cluster.now)
    cluster.held_disks = {1}
    cluster.run(1)
    assert cluster.nodes[1].is_leader
    assert cluster.sent == []


def append(term: int, previous: tuple[int, int], entries: list[tuple[int, int]], commit: int = 0) -> pb.RaftMessage:
    """An AppendEntries: previous and entries as (index, term)."""
    made = [pb.Entry(index=index, term=number, data=b"\0%d.%d" % (index, number)) for index, number in entries]
    body = pb.AppendEntries(prev_index=previous[0], prev_term=previous[1], entries=made, commit_index=commit)
    return pb.RaftMessage(term=term, append=body)


def follower_with(tmp_path: Path, *appends: pb.RaftMessage) -> tuple[RaftNode, list[pb.AppendReply]]:
    """Member 1 of three after these messages of member 2, and its last replies."""
    cluster = Cluster(tmp_path)
    cluster.cut = {(1, 2), (1, 3)}
    for message in appends:
        cluster.nodes[1].receive(2, message, cluster.now)
        cluster.turn(1)
    cluster.turn(1)
    return cluster.nodes[1], [message.append_reply for *_, message in cluster.sent if message.HasField("append_reply")]


def terms(node: RaftNode) -> list[tuple[int, int]]:
    return [(index, term) for _, index, term in node._journal.entries]


def test_matching_entries_sent_again_cut_nothing(tmp_path: Path) -> None:
    """Figure 2, AppendEntries 3: a delayed message must not take back what came after it."""
    first = append(1, (1, 0), [(2, 1), (3, 1), (4, 1)])
    node, replies = follower_with(tmp_path, first, append(1, (1, 0), [(2, 1)]))
    assert terms(node) == [(1, 0), (2, 1), (3, 1), (4, 1)]
    assert [reply.next_index for reply in replies] == [5, 3], "only what the message showed is confirmed"


def test_a_conflict_cuts_the_log(tmp_path: Path) -> None:
    first = append(1, (1, 0), [(2, 1), (3, 1), (4, 1)])
    node, _ = follower_with(tmp_path, first, append(2, (2, 1), [(3, 2)]))
    assert terms(node) == [(1, 0), (2, 1), (3, 2)]


def test_the_commit_index_goes_no_further_than_the_message_matches(tmp_path: Path) -> None:
    """Figure 2, AppendEntries 5: a kept tail may be another leader's."""
    first = append(1, (1, 0), [(2, 1), (3, 1), (4, 1)])
    node, _ = follower_with(tmp_path, first, append(2, (2, 1), [], commit=4))
    assert node.commit_index == 2


def test_a_refusal_names_where_the_conflicting_term_begins(tmp_path: Path) -> None:
    first = append(1, (1, 0), [(2, 1), (3, 1), (4, 1)])
    _, replies = follower_with(tmp_path, first, append(5, (4, 3), [(5, 5)]))
    assert (replies[-1].success, replies[-1].reset, replies[-1].next_index) == (False, True, 2)


def test_a_reply_of_another_term_is_dropped(cluster: Cluster) -> None:
    leader = cluster.elect()
    peer = cluster.others(leader)[0].member_id
    cluster.isolate(leader.member_id)
    cluster.propose(leader, b"x")
    stale = pb.AppendReply(success=True, next_index=leader.last_index + 1)
    leader.receive(peer, pb.RaftMessage(term=leader.term - 1, append_reply=stale), cluster.now)
    assert leader.match_index(peer) < leader.last_index


def test_reads_share_a_round_and_leave_no_entry(cluster: Cluster) -> None:
    """Thesis 6.4."""
    leader = cluster.elect()
    last = leader.last_index
    cluster.sent.clear()
    answers: list[int] = []
    for _ in range(50):
        leader.read_index(answers.append)
    cluster.settle()
    assert answers == [leader.commit_index] * 50
    assert leader.last_index == last
    assert sum(message.HasField("append") for *_, message in cluster.sent) == 2


def test_a_follower_reads_what_the_leader_acknowledged(cluster: Cluster) -> None:
    leader = cluster.elect()
    cluster.propose(leader, b"x")
    for follower in cluster.others(leader):
        assert cluster.read(follower) == [leader.commit_index]
        assert follower.applied_index == leader.applied_index


def test_a_new_leader_reads_nothing_before_it_has_committed_in_its_term(cluster: Cluster) -> None:
    """Section 8: until then it does not know what is committed."""
    leader = cluster.elect()
    cluster.isolate(leader.member_id)
    heirs = cluster.others(leader)
    cluster.run(0.5)
    cluster.held_disks = {node.member_id for node in heirs}
    reads: list[int] = []
    for _ in range(200):
        cluster.run(0.02)
        for number in list(cluster.stuck):
            if not heirs[0].is_leader and not heirs[1].is_leader:
                cluster.held_disks.add(number)
                batch, after = cluster.stuck.pop(number)
                for peer, message in cluster.flush(number, batch, after):
                    if (number, peer) not in cluster.cut:
                        cluster.nodes[peer].receive(number, message, cluster.now)
        if new := next((node for node in heirs if node.is_leader), None):
            new.read_index(reads.append)
            break
    cluster.settle()
    assert reads == []
    for number in list(cluster.stuck):
        cluster.unstick(number)
    assert len(reads) == 1


def test_leadership_is_handed_over_without_an_election_timeout(cluster: Cluster) -> None:
    leader = cluster.elect()
    heir = cluster.others(leader)[1]
    answers: list = []
    leader.transfer(heir.member_id, answers.append, cluster.now)
    before = cluster.now
    cluster.settle()
    assert (answers, heir.is_leader, cluster.now) == ([None], True, before)
    assert cluster.propose(leader, b"x") == [(1, None)]


def test_who_may_not_be_handed_leadership(cluster: Cluster) -> None:
    leader = cluster.elect()
    answers: list = []
    leader.transfer(99, answers.append, cluster.now)
    cluster.others(leader)[0].transfer(leader.member_id, answers.append, cluster.now)
    leader.transfer(leader.member_id, answers.append, cluster.now)
    assert answers == [BAD_LEADER_TRANSFEREE, NOT_LEADER, None]


def test_members_change_one_at_a_time_and_when_applied(cluster: Cluster) -> None:
    leader = cluster.elect()
    answers: list = []
    for number in (4, 5):
        leader.propose(Proposal(MEMBERSHIP + b"%d" % number, True, lambda *answer: answers.append(answer)))
    cluster.settle()
    assert sorted(answers, key=str) == [(1, None), (None, UNHEALTHY)]
    assert all(node.learners == {4} for node in cluster.nodes.values())
    assert leader.voters == {1, 2, 3}


def test_a_learner_is_sent_everything_and_asked_nothing(cluster: Cluster) -> None:
    leader = cluster.elect()
    cluster.propose(leader, MEMBERSHIP + b"4", membership=True)
    cluster.machines[4] = Machine(3)
    learner = cluster.boot(4)
    cluster.run(0.3)
    assert cluster.machines[4].commands == [MEMBERSHIP + b"4"]
    cluster.isolate(*(node.member_id for node in cluster.others(leader) if node is not learner))
    answers = cluster.propose(leader, b"x")
    assert answers == [], "its copy does not count"
    cluster.isolate(4)
    cluster.run(5)
    assert not learner.is_leader
    assert learner.term == leader.term, "it stood for nothing"


def test_a_peer_behind_the_log_is_named_and_kept_from_elections(cluster: Cluster) -> None:
    leader = cluster.elect()
    behind = cluster.others(leader)[0]
    cluster.isolate(behind.member_id)
    for i in range(20):
        cluster.propose(leader, b"%d" % i)
    leader._journal.release(leader.applied_index, 2, 1 << 20)
    cluster.isolate()
    cluster.run(2)
    assert leader.wants_snapshot == {behind.member_id}
    assert behind.leader_id == leader.member_id
    index, term = leader.applied_index, leader.term
    machine, source = cluster.machines[behind.member_id], cluster.machines[leader.member_id]
    machine.commands, machine.applied_index, machine.applied_term = list(source.commands), index, term
    behind.installed(index, term, cluster.now)
    leader.snapshot_sent(behind.member_id, index, cluster.now)
    cluster.settle()
    cluster.propose(leader, b"after")
    assert machine.commands[-1] == b"after"
    assert leader.wants_snapshot == set()
    assert terms(behind)[0] == (index, term)


def test_a_restart_takes_all_but_the_last_change_of_members_for_committed(tmp_path: Path) -> None:
    """The second was only appended once the first was applied."""
    folder = tmp_path / "1"
    journal = Journal(folder, SegmentWriter(folder, lambda descriptor: None))
    journal.open()
    journal.add(NO_OP, 1, 0)
    journal.add(b"\2" + MEMBERSHIP + b"4", 2, 1)
    journal.add(b"\2" + MEMBERSHIP + b"5", 3, 1)
    journal.vote(1, "")
    journal.flush()
    journal.close()
    node = Cluster(tmp_path).nodes[1]
    assert node.commit_index == 2
    node.step(0.0)
    assert node.learners == {4}


def test_load_over_changing_leaders_ends_in_equal_machines(cluster: Cluster) -> None:
    answered: dict[bytes, tuple] = defaultdict(tuple)
    rng = random.Random(7)
    for i in range(300):
        node = cluster.nodes[rng.randint(1, 3)]
        command = b"%d" % i

        def note(*answer, command=command) -> None:
            answered[command] = answer

        node.propose(Proposal(command, False, note))
        cluster.run(0.02)
        if i % 40 == 39:
            cluster.isolate(rng.randint(1, 3))
        elif i % 40 == 20:
            cluster.isolate()
    cluster.isolate()
    cluster.run(4)
    commands = [machine.commands for machine in cluster.machines.values()]
    assert commands[0] == commands[1] == commands[2]
    assert len(commands[0]) == len(set(commands[0])), "nothing is applied twice"
    assert {command for command, (_, refusal) in answered.items() if refusal is None} <= set(commands[0])


def test_the_process_keeps_its_own_address_functions() -> None:
    assert socket.inet_ntop(socket.AF_INET, b"\x7f\0\0\x01") == "127.0.0.1"
    assert socket.inet_ntop(socket.AF_INET6, bytes(15) + b"\x01") == "::1"
