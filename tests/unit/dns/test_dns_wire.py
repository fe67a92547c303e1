"""Messages byte by byte: golden ones, EDNS, truncation, and whatever else may arrive."""

import dns.flags
import dns.message
import dns.name
import dns.rcode
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from navarch.services.dns.names import Name, from_text
from navarch.services.dns.records import Record, Type, address
from navarch.services.dns.responder import Outside
from navarch.services.dns.wire import MAX_UDP_BYTES, Body, MalformedQuery, Unanswerable, parse

KUBERNETES = "kubernetes.default.svc.cluster.local."
QUESTION = b"\x0akubernetes\x07default\x03svc\x07cluster\x05local\0\0\x01\0\x01"
ANSWER = b"\xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x04\x0a\x60\0\x01"
OPT = b"\0\0\x29\x04\xd0\0\0\0\0\0\0"


def query(flags: int = 0x0100, counts: tuple[int, int, int, int] = (1, 0, 0, 0), rest: bytes = QUESTION) -> bytes:
    return b"\x12\x34" + flags.to_bytes(2) + b"".join(each.to_bytes(2) for each in counts) + rest


def header(flags: int, *counts: int) -> bytes:
    return b"\x12\x34" + flags.to_bytes(2) + b"".join(each.to_bytes(2) for each in counts)


GOLDEN = {
    "plain": (query(), header(0x8580, 1, 1, 0, 0) + QUESTION + ANSWER),
    "no recursion desired": (query(0x0000), header(0x8480, 1, 1, 0, 0) + QUESTION + ANSWER),
    "asks for validation, as dig does": (query(0x0120), header(0x8580, 1, 1, 0, 0) + QUESTION + ANSWER),
    "no validation": (query(0x0110), header(0x8590, 1, 1, 0, 0) + QUESTION + ANSWER),
    "EDNS": (query(counts=(1, 0, 0, 1), rest=QUESTION + OPT), header(0x8580, 1, 1, 0, 1) + QUESTION + ANSWER + OPT),
    "EDNS with DO": (
        query(counts=(1, 0, 0, 1), rest=QUESTION + b"\0\0\x29\x10\0\0\0\x80\0\0\0"),
        header(0x8580, 1, 1, 0, 1) + QUESTION + ANSWER + b"\0\0\x29\x04\xd0\0\0\x80\0\0\0",
    ),
    "EDNS with an unknown option": (
        query(counts=(1, 0, 0, 1), rest=QUESTION + b"\0\0\x29\x10\0\0\0\0\0\0\x06\xff\xfe\0\x02ab"),
        header(0x8580, 1, 1, 0, 1) + QUESTION + ANSWER + OPT,
    ),
    "EDNS of another version": (
        query(counts=(1, 0, 0, 1), rest=QUESTION + b"\0\0\x29\x10\0\0\x01\0\0\0\0"),
        header(0x8180, 1, 0, 0, 1) + QUESTION + b"\0\0\x29\x04\xd0\x01\0\0\0\0\0",
    ),
    "another record beside": (
        query(counts=(1, 0, 0, 1), rest=QUESTION + ANSWER),
        header(0x8580, 1, 1, 0, 0) + QUESTION + ANSWER,
    ),
    "spelled otherwise": (
        query(rest=QUESTION.replace(b"default", b"dEfAuLt")),
        header(0x8580, 1, 1, 0, 0) + QUESTION.replace(b"default", b"dEfAuLt") + ANSWER,
    ),
    "class CHAOS": (
        query(rest=QUESTION[:-1] + b"\x03"),
        header(0x8185, 1, 0, 0, 0) + QUESTION[:-1] + b"\x03",
    ),
    "AXFR": (query(rest=QUESTION[:-4] + b"\0\xfc\0\x01"), header(0x8185, 1, 0, 0, 0) + QUESTION[:-4] + b"\0\xfc\0\x01"),
    "NOTIFY": (query(0x2000), header(0xA084, 0, 0, 0, 0)),
    "UPDATE": (query(0x2900), header(0xA984, 0, 0, 0, 0)),
    "no question": (query(counts=(0, 0, 0, 0), rest=b""), header(0x8181, 0, 0, 0, 0)),
    "two questions": (query(counts=(2, 0, 0, 0), rest=QUESTION * 2), header(0x8181, 0, 0, 0, 0)),
    "an answer": (query(counts=(1, 1, 0, 0), rest=QUESTION + ANSWER), header(0x8181, 0, 0, 0, 0)),
    "two OPT records": (query(counts=(1, 0, 0, 2), rest=QUESTION + OPT * 2), header(0x8181, 0, 0, 0, 0)),
    "an OPT record that is not there": (query(counts=(1, 0, 0, 1)), header(0x8181, 0, 0, 0, 0)),
    "an option longer than its record": (
        query(counts=(1, 0, 0, 1), rest=QUESTION + b"\0\0\x29\x10\0\0\0\0\0\0\x04\0\x0a\0\x08"),
        header(0x8181, 0, 0, 0, 0),
    ),
    "bytes behind the end": (query(rest=QUESTION + b"x"), header(0x8181, 0, 0, 0, 0)),
    "a compression loop": (query(rest=b"\xc0\x0c\0\x01\0\x01"), header(0x8181, 0, 0, 0, 0)),
    "a label of 64 bytes": (query(rest=b"\x40" + b"a" * 64 + b"\0\0\x01\0\x01"), header(0x8181, 0, 0, 0, 0)),
    "a name of 256 bytes": (
        query(rest=(b"\x3f" + b"a" * 63) * 3 + b"\x3e" + b"a" * 62 + b"\0\0\x01\0\x01"),
        header(0x8181, 0, 0, 0, 0),
    ),
    "a response": (query(0x8180), None),
    "11 bytes": (query()[:11], None),
    "nothing": (b"", None),
}


@pytest.mark.parametrize(("asked", "wanted"), GOLDEN.values(), ids=GOLDEN)
def test_a_golden_response(cluster, asked: bytes, wanted: bytes | None) -> None:
    assert cluster.responder.respond(asked) == wanted
    cluster.responder.respond(query())
    # And now that the answer is remembered.
    assert cluster.responder.respond(asked) == wanted


@pytest.mark.parametrize("size", range(12, len(query())))
def test_a_query_that_is_cut_off_is_malformed(cluster, size: int) -> None:
    cluster.responder.respond(query())
    assert cluster.responder.respond(query()[:size]) == header(0x8181, 0, 0, 0, 0)


def test_a_name_of_255_bytes_is_taken(cluster) -> None:
    name = (b"\x3f" + b"a" * 63) * 3 + b"\x3d" + b"a" * 61 + b"\0"
    assert len(name) == 255
    assert isinstance(cluster.responder.respond(query(rest=name + b"\0\x01\0\x01")), Outside)


def test_types_that_look_like_letters_are_not_confused(cluster) -> None:
    # 65 is HTTPS, 97 its lower case; the one has no data, the other neither, but each gets its own question back.
    for number in (65, 97, 65):
        asked = query(rest=QUESTION[:-4] + number.to_bytes(2) + b"\0\x01")
        response = cluster.responder.respond(asked)
        assert response[12 : 12 + len(QUESTION)] == asked[12:]


def test_a_label_with_a_zero_byte_is_not_taken_for_its_end(cluster) -> None:
    strange = query(rest=b"\x03a\0b\x07cluster\x05local\0\0\x01\0\x01")
    for _ in range(2):
        message = dns.message.from_wire(cluster.responder.respond(strange))
        assert message.rcode() == dns.rcode.NXDOMAIN
        assert message.question[0].name == dns.name.Name([b"a\0b", b"cluster", b"local", b""])


def many(cluster, a_service, a_slice, count: int) -> None:
    cluster.put(a_service("many"), a_slice("many", *((f"10.244.7.{n}", f"m-{n}", True) for n in range(count))))


MANY = "many.default.svc.cluster.local."


@pytest.mark.parametrize("payload", [0, 100, 512, 1000, 1232, 4096, 65535])
@pytest.mark.parametrize("kind", ["A", "SRV"])
def test_no_datagram_is_larger_than_allowed(cluster, a_service, a_slice, payload: int, kind: str) -> None:
    many(cluster, a_service, a_slice, 200)
    name = MANY if kind == "A" else f"_http._tcp.{MANY}"
    made = dns.message.make_query(name, kind, use_edns=0 if payload else -1, payload=payload)
    for _ in range(3):
        response = cluster.responder.respond(made.to_wire())
        assert len(response) <= (max(512, min(payload, MAX_UDP_BYTES)) if payload else 512)
        message = dns.message.from_wire(response)
        assert message.flags & dns.flags.TC
        assert len(message.answer[0]) > 3
    whole = dns.message.from_wire(cluster.responder.respond(made.to_wire(), udp=False))
    assert not whole.flags & dns.flags.TC
    assert len(whole.answer[0]) == 200


def test_additional_records_are_left_out_before_anything_is_cut_off(cluster, a_service, a_slice) -> None:
    many(cluster, a_service, a_slice, 7)
    name = f"_http._tcp.{MANY}"
    plain = dns.message.from_wire(cluster.responder.respond(dns.message.make_query(name, "SRV", use_edns=-1).to_wire()))
    assert (bool(plain.flags & dns.flags.TC), len(plain.answer[0]), plain.additional) == (False, 7, [])
    large = dns.message.make_query(name, "SRV", payload=1232, use_edns=0)
    assert len(dns.message.from_wire(cluster.responder.respond(large.to_wire())).additional) == 7


def test_addresses_take_turns(cluster, a_service, a_slice) -> None:
    many(cluster, a_service, a_slice, 3)
    asked = dns.message.make_query(MANY, "A").to_wire()
    seen = [cluster.responder.respond(asked) for _ in range(6)]
    firsts = [str(dns.message.from_wire(each, one_rr_per_rrset=True).answer[0][0]) for each in seen]
    assert firsts == ["10.244.7.0", "10.244.7.1", "10.244.7.2"] * 2


def test_what_is_not_desired_to_recur_is_refused(cluster) -> None:
    made = dns.message.make_query("www.example.com.", "A", flags=0)
    assert dns.message.from_wire(cluster.responder.respond(made.to_wire())).rcode() == dns.rcode.REFUSED
    alias = dns.message.make_query("foo.default.svc.cluster.local.", "A", flags=0)
    assert "CNAME" in dns.message.from_wire(cluster.responder.respond(alias.to_wire())).to_text()


def test_any_of_an_outside_name_bothers_no_upstream(cluster) -> None:
    made = dns.message.make_query("www.example.com.", "ANY")
    assert "HINFO" in dns.message.from_wire(cluster.responder.respond(made.to_wire())).to_text()


def test_a_flood_of_names_is_not_all_remembered(cluster, monkeypatch) -> None:
    monkeypatch.setattr("navarch.services.dns.responder.MAX_REMEMBERED", 50)
    for number in range(200):
        cluster.responder.respond(dns.message.make_query(f"x{number}.default.svc.cluster.local.", "A").to_wire())
    assert len(cluster.responder) == 50
    # And each of them is still forgotten when its Service comes.
    assert dns.message.from_wire(cluster.responder.respond(query())).rcode() == dns.rcode.NOERROR


def respond_to_anything(cluster, data: bytes, udp: bool) -> None:
    response = cluster.responder.respond(data, udp)
    if response is None:
        assert len(data) < 12 or data[2] & 0x80
    elif isinstance(response, bytes):
        assert response[:2] == data[:2]
        assert response[2] & 0x80
        assert len(response) <= (MAX_UDP_BYTES if udp else 65535)
        dns.message.from_wire(response)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200), udp=st.booleans())
def test_any_bytes_are_taken(cluster, data: bytes, udp: bool) -> None:
    respond_to_anything(cluster, data, udp)


NAMES = [QUESTION, b"\x0akubernetes\0\0\x01\0\x01", b"\0\0\x02\0\x01", QUESTION + OPT]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.builds(
        lambda flags, counts, rest, at, noise: query(flags, counts, rest[:at] + noise + rest[at:]),
        st.integers(0, 0xFFFF),
        st.tuples(*[st.integers(0, 2)] * 4),
        st.sampled_from(NAMES),
        st.integers(0, 60),
        st.binary(max_size=8),
    ),
    udp=st.booleans(),
)
def test_nearly_proper_queries_are_taken(cluster, data: bytes, udp: bool) -> None:
    respond_to_anything(cluster, data, udp)


LABELS = st.text(st.characters(min_codepoint=1, max_codepoint=255), min_size=1, max_size=63).map(str.lower)


def encodable(labels: tuple[str, ...]) -> bool:
    return all(ord(char) < 128 for label in labels for char in label)


@given(names=st.lists(st.lists(LABELS, max_size=3).map(tuple).filter(encodable), min_size=1, max_size=5))
def test_what_is_encoded_is_decoded(names: list[Name]) -> None:
    question = names[0]
    found = [Record(name, Type.TXT, 7, b"\x01a") for name in names]
    counts, tail, truncated = Body(question, found, found[:1], found[1:]).fitted(65535)
    wire = b"".join(bytes((len(label),)) + label.encode("latin-1") for label in question) + b"\0\0\x10\0\x01"
    message = dns.message.from_wire(header(0x8180, 1) + counts + wire + tail, one_rr_per_rrset=True)
    assert not truncated
    decoded = [tuple(label.decode("latin-1") for label in rrset.name.labels[:-1]) for rrset in message.answer]
    assert decoded == names


@pytest.mark.parametrize(
    ("data", "failure"),
    [
        (b"", Unanswerable),
        (query(0x8000), Unanswerable),
        (query(0x0800), MalformedQuery),
        (query()[:-1], MalformedQuery),
    ],
)
def test_parsing_says_why_not(data: bytes, failure: type[Exception]) -> None:
    with pytest.raises(failure):
        parse(data)


def test_an_address_record_is_of_its_family() -> None:
    name = from_text("a.b")
    assert [address(name, text, 5).type for text in ("10.0.0.1", "fd00::1")] == [Type.A, Type.AAAA]
