"""Facts of the runtime, merged in whatever order they come."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from navarch.protos.cri import v1_pb2 as criv1
from navarch.services.kubelet.core.backoff import Backoff
from navarch.services.kubelet.core.observed import (
    CREATED,
    EXITED,
    RUNNING,
    UNKNOWN,
    Container,
    PodRuntime,
    Sandbox,
    container_of,
    sandbox_of,
)

LIFE = [
    Container("c", "main", 0, "b", CREATED, 1.0),
    Container("c", "main", 0, "b", RUNNING, 1.0, 2.0),
    Container("c", "main", 0, "b", EXITED, 1.0, 2.0, 3.0, exit_code=7, reason="Error", message="bye"),
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_the_order_of_facts_does_not_matter(order: tuple[int, ...]) -> None:
    runtime = PodRuntime()
    for index in order:
        runtime.see(LIFE[index])
    assert runtime.latest("main") == LIFE[2]


def test_a_sandbox_never_becomes_ready_again_and_keeps_its_address() -> None:
    runtime = PodRuntime()
    box = Sandbox("b", 0, True, 1.0, ("10.0.0.1",))
    assert runtime.see(box)
    assert runtime.see(replace(box, ready=False, ips=()))
    assert not runtime.see(box)
    assert runtime.ready_sandbox() is None
    assert runtime.sandbox() == replace(box, ready=False)


def test_a_relist_drops_what_is_gone_but_not_what_came_meanwhile() -> None:
    runtime = PodRuntime()
    runtime.see(LIFE[1], sequence=1)
    runtime.see(Container("new", "other", 0, "b", RUNNING, 5.0), sequence=2)
    assert runtime.relisted([], sequence=2, now=9.0)
    lost = runtime.latest("main")
    assert lost is not None
    assert (lost.state, lost.lost, lost.finished_at) == (EXITED, True, 9.0)
    other = runtime.latest("other")
    assert other is not None
    assert other.alive


def test_what_we_removed_does_not_come_back() -> None:
    runtime = PodRuntime()
    runtime.see(LIFE[2])
    assert runtime.forget("c")
    assert not runtime.see(LIFE[2])
    assert runtime.latest("main") is None


def test_an_unknown_state_is_alive_until_it_is_known() -> None:
    assert replace(LIFE[1], state=UNKNOWN).alive
    assert not LIFE[0].alive


def test_reading_cri_messages() -> None:
    box = criv1.PodSandboxStatus(id="b", created_at=2_000_000_000)
    box.metadata.attempt = 3
    box.network.ip = "10.0.0.1"
    box.network.additional_ips.add(ip="fd00::1")
    assert sandbox_of(box) == Sandbox("b", 3, True, 2.0, ("10.0.0.1", "fd00::1"))
    status = criv1.ContainerStatus(
        id="c", state=criv1.CONTAINER_EXITED, exit_code=2, image_ref="app:1", image_id="sha256:9"
    )
    status.metadata.name = "main"
    status.image.image = "sha256:9"
    status.image.user_specified_image = "app:1"
    read = container_of(status, "b")
    assert (read.name, read.sandbox_id, read.exit_code) == ("main", "b", 2)
    assert (read.image, read.image_id) == ("app:1", "sha256:9")


def test_backoff_doubles_to_its_limit_and_forgets() -> None:
    backoff = Backoff(10, 300)
    now, waits = 0.0, []
    for _ in range(7):
        due = backoff.due("k", now)
        waits.append(due - now)
        backoff.retried("k", now, due)
        now = due
    assert waits == [0, 10, 20, 40, 80, 160, 300]
    assert backoff.due("k", now + 700) == now + 700
    backoff.reset("k")
    assert (backoff.due("k", now), backoff.delay_s("k")) == (now, 0.0)


@given(st.lists(st.integers(0, 1000), max_size=30))
def test_backoff_stays_within_its_bounds(gaps: list[int]) -> None:
    backoff, now = Backoff(10, 300), 0.0
    for gap in gaps:
        now += gap
        due = backoff.due("k", now)
        assert 0 <= due - now <= 300
        backoff.retried("k", now, due)
        now = due
