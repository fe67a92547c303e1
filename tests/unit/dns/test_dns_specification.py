"""The Kubernetes DNS specification 1.1, example by example, and what follows from it."""

import dns.message
import dns.rcode
import pytest

ZONE = "cluster.local."
SOA = "SOA"


def ask(dns_core, name: str, kind: str) -> tuple[str, list[str], list[str], list[str]]:
    """The response code; answers, authority and additional as sorted lines."""
    query = dns.message.make_query(name, kind, use_edns=0, payload=4096)
    response = dns.message.from_wire(dns_core.responder.respond(query.to_wire(), udp=False))
    assert response.id == query.id
    assert response.question == query.question
    sections = (response.answer, response.authority, response.additional)
    lines = [sorted(line for rrset in section for line in rrset.to_text().splitlines()) for section in sections]
    return dns.rcode.to_text(response.rcode()), *lines


EXAMPLES = {
    # 2.2
    "schema version": ("dns-version.cluster.local.", "TXT", ['dns-version.cluster.local. 5 IN TXT "1.1.0"']),
    # 2.3.1
    "A of a Service": (
        "kubernetes.default.svc.cluster.local.",
        "A",
        ["kubernetes.default.svc.cluster.local. 5 IN A 10.96.0.1"],
    ),
    "AAAA of a Service": (
        "kubernetes.default.svc.cluster.local.",
        "AAAA",
        ["kubernetes.default.svc.cluster.local. 5 IN AAAA fd00:96::1"],
    ),
    # 2.3.2
    "SRV of a Service": (
        "_https._tcp.kubernetes.default.svc.cluster.local.",
        "SRV",
        ["_https._tcp.kubernetes.default.svc.cluster.local. 5 IN SRV 0 100 443 kubernetes.default.svc.cluster.local."],
    ),
    # 2.3.3
    "PTR of a Service": (
        "1.0.96.10.in-addr.arpa.",
        "PTR",
        ["1.0.96.10.in-addr.arpa. 5 IN PTR kubernetes.default.svc.cluster.local."],
    ),
    # 2.4.1
    "A of a headless Service": (
        "headless.default.svc.cluster.local.",
        "A",
        [
            "headless.default.svc.cluster.local. 5 IN A 10.244.0.100",
            "headless.default.svc.cluster.local. 5 IN A 10.244.0.101",
            "headless.default.svc.cluster.local. 5 IN A 10.244.0.102",
        ],
    ),
    "AAAA of a headless Service": (
        "headless.default.svc.cluster.local.",
        "AAAA",
        ["headless.default.svc.cluster.local. 5 IN AAAA fd00:244::100"],
    ),
    "A of an endpoint": (
        "my-pet.headless.default.svc.cluster.local.",
        "A",
        ["my-pet.headless.default.svc.cluster.local. 5 IN A 10.244.0.100"],
    ),
    "AAAA of an endpoint": (
        "my-pet.headless.default.svc.cluster.local.",
        "AAAA",
        ["my-pet.headless.default.svc.cluster.local. 5 IN AAAA fd00:244::100"],
    ),
    "A of an endpoint without a hostname": (
        "10-244-0-102.headless.default.svc.cluster.local.",
        "A",
        ["10-244-0-102.headless.default.svc.cluster.local. 5 IN A 10.244.0.102"],
    ),
    "A of an endpoint that is published though not ready": (
        "late.early.default.svc.cluster.local.",
        "A",
        ["late.early.default.svc.cluster.local. 5 IN A 10.244.0.103"],
    ),
    # 2.4.2
    "SRV of a headless Service": (
        "_https._tcp.headless.default.svc.cluster.local.",
        "SRV",
        [
            f"_https._tcp.headless.default.svc.cluster.local. 5 IN SRV 0 33 443 "
            f"{hostname}.headless.default.svc.cluster.local."
            for hostname in ("10-244-0-102", "my-pet-2", "my-pet")
        ],
    ),
    # 2.4.3
    "PTR of an endpoint": (
        "100.0.244.10.in-addr.arpa.",
        "PTR",
        ["100.0.244.10.in-addr.arpa. 5 IN PTR my-pet.headless.default.svc.cluster.local."],
    ),
    "PTR of an endpoint without a hostname": (
        "102.0.244.10.in-addr.arpa.",
        "PTR",
        ["102.0.244.10.in-addr.arpa. 5 IN PTR 10-244-0-102.headless.default.svc.cluster.local."],
    ),
    # 2.5
    "CNAME of an external name": (
        "foo.default.svc.cluster.local.",
        "CNAME",
        ["foo.default.svc.cluster.local. 5 IN CNAME www.example.com."],
    ),
    "alias of a Service": (
        "alias.default.svc.cluster.local.",
        "A",
        [
            "alias.default.svc.cluster.local. 5 IN CNAME kubernetes.default.svc.cluster.local.",
            "kubernetes.default.svc.cluster.local. 5 IN A 10.96.0.1",
        ],
    ),
    # 2.6
    "A of a Pod": (
        "10-244-1-2.default.pod.cluster.local.",
        "A",
        ["10-244-1-2.default.pod.cluster.local. 5 IN A 10.244.1.2"],
    ),
    "AAAA of a Pod": (
        "fd00-244--5.default.pod.cluster.local.",
        "AAAA",
        ["fd00-244--5.default.pod.cluster.local. 5 IN AAAA fd00:244::5"],
    ),
    # Beyond the specification.
    "A of an endpoint behind a cluster IP": (
        "10-244-1-5.web.default.svc.cluster.local.",
        "A",
        ["10-244-1-5.web.default.svc.cluster.local. 5 IN A 10.244.1.5"],
    ),
    "name server": (ZONE, "NS", ["cluster.local. 5 IN NS ns.dns.cluster.local."]),
    "address of the name server": ("ns.dns.cluster.local.", "A", ["ns.dns.cluster.local. 5 IN A 10.96.0.10"]),
    "ANY (RFC 8482)": (
        "kubernetes.default.svc.cluster.local.",
        "ANY",
        ['kubernetes.default.svc.cluster.local. 5 IN HINFO "RFC8482" ""'],
    ),
}
FIRST_OF_96 = f"1{'.0' * 23}.6.9.0.0.0.0.d.f.ip6.arpa."
EXAMPLES["PTR of a Service, IPv6"] = (
    FIRST_OF_96,
    "PTR",
    [f"{FIRST_OF_96} 5 IN PTR kubernetes.default.svc.cluster.local."],
)


@pytest.mark.parametrize(("name", "kind", "wanted"), EXAMPLES.values(), ids=EXAMPLES)
def test_an_example_is_answered(cluster, name: str, kind: str, wanted: list[str]) -> None:
    rcode, answers, authority, _ = ask(cluster, name, kind)
    assert (rcode, answers, authority) == ("NOERROR", wanted, [])


NO_DATA = {
    "of another family": ("web.default.svc.cluster.local.", "AAAA"),
    "of another type": ("kubernetes.default.svc.cluster.local.", "MX"),
    "the domain has no address": (ZONE, "A"),
    "all Services": ("svc.cluster.local.", "A"),
    "all Pods": ("pod.cluster.local.", "A"),
    "a Namespace's Services": ("default.svc.cluster.local.", "A"),
    "a Namespace's Pods": ("default.pod.cluster.local.", "TXT"),
    "a Service's protocol": ("_tcp.kubernetes.default.svc.cluster.local.", "SRV"),
    "a headless Service's protocol": ("_tcp.headless.default.svc.cluster.local.", "SRV"),
    "a port's address": ("_https._tcp.kubernetes.default.svc.cluster.local.", "A"),
    "SRV of a Service without a port": ("kubernetes.default.svc.cluster.local.", "SRV"),
    "above the name server": ("dns.cluster.local.", "A"),
    "an IPv4 Pod's AAAA": ("10-244-1-2.default.pod.cluster.local.", "AAAA"),
    "a reverse zone of ours": ("96.10.in-addr.arpa.", "PTR"),
    "an inner node of it": ("0.96.10.in-addr.arpa.", "PTR"),
}


@pytest.mark.parametrize(("name", "kind"), NO_DATA.values(), ids=NO_DATA)
def test_a_name_without_such_records(cluster, name: str, kind: str) -> None:
    rcode, answers, authority, additional = ask(cluster, name, kind)
    assert (rcode, answers, additional) == ("NOERROR", [], [])
    assert [line.split()[3] for line in authority] == [SOA]


ABSENT = {
    "no such Service": ("nothing.default.svc.cluster.local.", "A"),
    "no such Namespace": ("kubernetes.nowhere.svc.cluster.local.", "A"),
    "no such Namespace alone": ("nowhere.svc.cluster.local.", "A"),
    "a search path on an outside name": ("www.example.com.default.svc.cluster.local.", "A"),
    "a headless Service without ready endpoints (2.4.1)": ("idle.default.svc.cluster.local.", "A"),
    "an endpoint that is not ready": ("late.headless.default.svc.cluster.local.", "A"),
    "a port of a headless Service without endpoints": ("_https._tcp.idle.default.svc.cluster.local.", "SRV"),
    "no such port": ("_http._tcp.kubernetes.default.svc.cluster.local.", "SRV"),
    "another protocol": ("_https._udp.kubernetes.default.svc.cluster.local.", "SRV"),
    "a port without a name": ("_81._udp.web.default.svc.cluster.local.", "SRV"),
    "a port without underscores": ("https.tcp.kubernetes.default.svc.cluster.local.", "SRV"),
    "no such endpoint": ("other.headless.default.svc.cluster.local.", "A"),
    "below an endpoint": ("below.my-pet.headless.default.svc.cluster.local.", "A"),
    "below an external name": ("below.foo.default.svc.cluster.local.", "A"),
    "a Pod in no Namespace": ("10-244-1-2.nowhere.pod.cluster.local.", "A"),
    "a Pod that is no address": ("10-244-1.default.pod.cluster.local.", "A"),
    "a Pod of too large an octet": ("10-244-1-256.default.pod.cluster.local.", "A"),
    "a Pod of an octet with zeros": ("10-244-01-2.default.pod.cluster.local.", "A"),
    "another branch": ("kubernetes.default.cluster.local.", "A"),
    "an address of the cluster that nothing has": ("99.0.96.10.in-addr.arpa.", "PTR"),
    "an endpoint of a Service with a cluster IP": ("5.1.244.10.in-addr.arpa.", "PTR"),
}


@pytest.mark.parametrize(("name", "kind"), ABSENT.values(), ids=ABSENT)
def test_a_name_that_does_not_exist(cluster, name: str, kind: str) -> None:
    rcode, answers, authority, _ = ask(cluster, name, kind)
    assert (rcode, answers) == ("NXDOMAIN", [])
    assert [line.split()[3] for line in authority] == [SOA]


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("nothing.default.svc.cluster.local.", "cluster.local."),
        ("99.0.96.10.in-addr.arpa.", "96.10.in-addr.arpa."),
        ("9.9.244.10.in-addr.arpa.", "244.10.in-addr.arpa."),
    ],
)
def test_absence_is_said_by_the_zone_of_the_name(cluster, name: str, owner: str) -> None:
    (line,) = ask(cluster, name, "A")[2]
    assert line.startswith(f"{owner} 5 IN SOA ns.dns.cluster.local. hostmaster.cluster.local. ")
    assert line.endswith(" 5")


OUTSIDE = {
    "a name": "www.example.com.",
    "the root": ".",
    "a reverse name": "8.8.8.8.in-addr.arpa.",
    "a larger reverse zone": "10.in-addr.arpa.",
    "no address": "x.1.2.3.in-addr.arpa.",
    "too long for an address": "1.2.3.4.5.in-addr.arpa.",
    "a similar domain": "kubernetes.default.svc.notcluster.local.",
    "an external name": "foo.default.svc.cluster.local.",
}


@pytest.mark.parametrize("name", OUTSIDE.values(), ids=OUTSIDE)
def test_what_is_not_the_clusters_is_for_the_upstreams(cluster, name: str) -> None:
    outside = cluster.responder.respond(dns.message.make_query(name, "A").to_wire())
    assert outside.query.type == 1
    assert outside.name == tuple(("www.example.com." if name.startswith("foo") else name).strip(".").split(".")) or (
        name == "." and outside.name == ()
    )


def test_an_srv_answer_brings_the_addresses_along(cluster) -> None:
    _, _, _, additional = ask(cluster, "_https._tcp.headless.default.svc.cluster.local.", "SRV")
    assert additional == [
        "10-244-0-102.headless.default.svc.cluster.local. 5 IN A 10.244.0.102",
        "my-pet-2.headless.default.svc.cluster.local. 5 IN A 10.244.0.101",
        "my-pet.headless.default.svc.cluster.local. 5 IN A 10.244.0.100",
        "my-pet.headless.default.svc.cluster.local. 5 IN AAAA fd00:244::100",
    ]


def test_aliases_that_go_round_in_circles_fail(cluster) -> None:
    assert ask(cluster, "round.default.svc.cluster.local.", "A")[:2] == ("SERVFAIL", [])


def test_case_does_not_matter_and_is_kept(cluster) -> None:
    for _ in range(2):  # The second is answered from memory.
        _, (line,), _, _ = ask(cluster, "KuberNetes.DEFAULT.svc.Cluster.Local.", "A")
        assert line == "KuberNetes.DEFAULT.svc.Cluster.Local. 5 IN A 10.96.0.1"


def test_before_the_cluster_is_known_nothing_is_said_of_it(cluster) -> None:
    cluster.resolver.ready = False
    assert ask(cluster, "kubernetes.default.svc.cluster.local.", "A")[0] == "SERVFAIL"
    assert ask(cluster, "99.0.96.10.in-addr.arpa.", "PTR")[0] == "SERVFAIL"
    cluster.resolver.ready = True
    assert ask(cluster, "kubernetes.default.svc.cluster.local.", "A")[0] == "NOERROR"


def test_an_address_in_two_families_of_slices_is_given_once(empty, a_service, a_slice) -> None:
    empty.put(a_service("db"), a_slice("db", ("10.244.0.1", "", True), name="a"))
    empty.put(a_slice("db", ("10.244.0.1", "", True), name="b"))
    assert ask(empty, "db.default.svc.cluster.local.", "A")[1] == ["db.default.svc.cluster.local. 5 IN A 10.244.0.1"]


def test_a_stateful_set_has_stable_names(empty, a_service, a_slice) -> None:
    empty.put(a_service("db"), a_slice("db", ("10.244.0.1", "db-0", True), ("10.244.0.2", "db-1", True)))
    empty.put(a_slice("db", ("10.244.0.9", "db-0", True), ("10.244.0.2", "db-1", True)))
    assert ask(empty, "db-0.db.default.svc.cluster.local.", "A")[1] == [
        "db-0.db.default.svc.cluster.local. 5 IN A 10.244.0.9"
    ]
