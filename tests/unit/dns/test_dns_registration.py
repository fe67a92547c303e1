"""What an instance writes so that Pods find it, and when another counts as dead."""

from navarch.services.dns.registration import LEASE_S, RENEW_S, Instance, Leases, plan, wanted_service, wanted_slice

ONE = Instance("one", "10.1.0.1", 5353, ("10.96.0.10",))
TWO = Instance("two", "10.1.0.2", 5353, ("10.96.0.10",))


def test_the_first_makes_everything() -> None:
    made = plan(ONE, None, [], ())
    assert made.create_service == wanted_service(ONE)
    assert made.create == wanted_slice(ONE)


def test_there_is_nothing_to_do_twice() -> None:
    made = plan(ONE, wanted_service(ONE), [wanted_slice(ONE), wanted_slice(TWO)], ())
    assert (made.create_service, made.create, made.update, made.delete) == (None, None, None, [])


def test_a_slice_of_another_address_is_put_right() -> None:
    moved = wanted_slice(Instance("one", "10.9.9.9", 53, ("10.96.0.10",)))
    made = plan(ONE, wanted_service(ONE), [moved], ())
    assert made.update is not None
    assert made.update.endpoints[0].addresses == ["10.1.0.1"]
    assert {each.port for each in made.update.ports} == {5353}


def test_only_the_dead_are_removed() -> None:
    foreign = wanted_slice(TWO)
    foreign.metadata.labels["endpointslice.kubernetes.io/managed-by"] = "somebody"
    assert plan(ONE, wanted_service(ONE), [wanted_slice(TWO)], {TWO.name}).delete == [wanted_slice(TWO)]
    assert plan(ONE, wanted_service(ONE), [wanted_slice(TWO)], ()).delete == []
    assert plan(ONE, wanted_service(ONE), [foreign], {TWO.name}).delete == []
    # Never itself.
    assert plan(ONE, wanted_service(ONE), [wanted_slice(ONE)], {ONE.name}).delete == []


def test_a_service_with_a_selector_is_left_alone() -> None:
    service = wanted_service(ONE)
    service.spec.selector["k8s-app"] = "kube-dns"
    made = plan(ONE, service, [wanted_slice(ONE)], ())
    assert (made.stands_aside, made.create, made.delete) == (True, None, [wanted_slice(ONE)])


def test_who_does_not_renew_is_dead_after_a_leases_time() -> None:
    leases = Leases()
    now = 100.0
    leases.observe({"a": "1", "b": "1"}, now)
    for tick in range(1, 4):
        now += RENEW_S
        leases.observe({"a": "1", "b": str(tick + 1)}, now)
    assert now - 100.0 == LEASE_S
    assert leases.dead(now) == {"a"}


def test_time_without_an_api_server_kills_nobody() -> None:
    leases = Leases()
    leases.observe({"a": "1"}, 100.0)
    leases.observe({"a": "1"}, 200.0)
    assert leases.dead(200.0) == set()
