"""Clients stay with their targets when slots change."""

import json

import pytest

from navarch.services.proxy.affinity import SETS, Move, Remembered, moves, read, read_targets, render_moves, restored
from navarch.services.proxy.endpoints import Target
from navarch.services.proxy.families import Family
from navarch.services.proxy.frontends import Frontend, FrontendId, Kind
from navarch.services.proxy.state import FrontendChange
from navarch.services.proxy.structure import Settings, containers

A, B, C = (Target(f"10.244.0.{number}", 8080) for number in (1, 2, 3))
ID = FrontendId(Family.V4, "tcp", "10.96.0.10", 80)


def frontend(*targets: Target, affinity_s: int = 100) -> Frontend:
    return Frontend(ID, Kind.CLUSTER, "http", targets, affinity_s=affinity_s)


def client(slot: int, set: str = "affinity4-tcp") -> Remembered:
    return Remembered(set, "203.0.113.5", "10.96.0.10 . 80", slot, 100, 42)


@pytest.mark.parametrize(
    ("old", "new", "slot", "to"),
    [
        pytest.param(frontend(A, B), frontend(A, B, C), 1, "stays", id="one more"),
        pytest.param(frontend(A, B, C), frontend(C, B), 2, 0, id="its target moved"),
        pytest.param(frontend(A, B, C), frontend(C, B), 0, None, id="its target is gone"),
        pytest.param(frontend(A, B), None, 1, None, id="the Service is gone"),
        pytest.param(frontend(A, B), frontend(A, B, affinity_s=0), 1, None, id="no affinity any more"),
        pytest.param(frontend(A), frontend(A), 5, None, id="a slot that was never there"),
    ],
)
def test_who_moves(old: Frontend, new: Frontend | None, slot: int, to: int | str | None) -> None:
    found = list(moves([client(slot)], [FrontendChange(old, new)]))
    assert found == ([] if to == "stays" else [Move(client(slot), to)])


def test_targets_of_this_node_have_slots_of_their_own() -> None:
    before = Frontend(ID, Kind.EXTERNAL, "", (A, B), local_only=True, local_targets=(B,), affinity_s=100)
    after = Frontend(ID, Kind.EXTERNAL, "", (A, B), local_only=True, local_targets=(C, B), affinity_s=100)
    people = [client(0), client(0, "local-affinity4-tcp")]
    assert list(moves(people, [FrontendChange(before, after)])) == [Move(people[1], 1)]


def test_clients_of_other_frontends_stay() -> None:
    other = client(0)._replace(frontend="10.96.0.11 . 80")
    assert list(moves([other, client(0, "affinity6-tcp")], [FrontendChange(frontend(A), frontend(B))])) == []


def test_moves_delete_before_they_add_and_keep_the_time_that_is_left() -> None:
    assert render_moves("t", [Move(client(0), None), Move(client(2), 0)]) == (
        "delete element inet t affinity4-tcp { 203.0.113.5 . 10.96.0.10 . 80 . 0 }\n"
        "delete element inet t affinity4-tcp { 203.0.113.5 . 10.96.0.10 . 80 . 2 }\n"
        "add element inet t affinity4-tcp { 203.0.113.5 . 10.96.0.10 . 80 . 0 timeout 100s expires 42s }\n"
    )


def test_a_new_proxy_finds_the_slots_by_the_targets() -> None:
    people = [client(0), client(1)._replace(client="203.0.113.6"), client(2)._replace(client="203.0.113.7")]
    installed = {"10.96.0.10 . 80 . 0": "10.244.0.1 . 8080", "10.96.0.10 . 80 . 1": "10.244.0.2 . 8080"}
    text = restored("t", people, lambda who: installed.get(who.target.key), [frontend(B, C, A)])
    assert text.splitlines() == [
        "add element inet t affinity4-tcp { 203.0.113.5 . 10.96.0.10 . 80 . 2 timeout 100s expires 42s }",
        "add element inet t affinity4-tcp { 203.0.113.6 . 10.96.0.10 . 80 . 0 timeout 100s expires 42s }",
    ]


def test_listings_of_nft_are_read() -> None:
    element = {"elem": {"val": {"concat": ["203.0.113.5", "10.96.0.10", 80, 0]}, "timeout": 100, "expires": 42}}
    listing = {"nftables": [{"metainfo": {}}, {"set": {"name": "affinity4-tcp", "elem": [element]}}]}
    assert list(read("affinity4-tcp", json.dumps(listing).encode())) == [client(0)]
    pair = [{"concat": ["10.96.0.10", 80, 0]}, {"concat": ["10.244.0.1", 8080]}]
    listing = {"nftables": [{"metainfo": {}}, {"map": {"name": "endpoints4-tcp", "elem": [pair]}}]}
    assert read_targets(json.dumps(listing).encode()) == {"10.96.0.10 . 80 . 0": "10.244.0.1 . 8080"}
    assert list(read("affinity4-tcp", b'{"nftables": [{"set": {"name": "affinity4-tcp"}}]}')) == []


def test_the_sets_are_those_of_the_table_and_each_has_its_map() -> None:
    names = {container.name for container in containers(Settings())}
    assert set(SETS) == {name for name in names if "affinity" in name}
    assert {client(0, name).target.container for name in SETS} <= names
