"""Who may do what at a kubelet, and how seldom the API server is asked."""

import time
from typing import Any

import pytest

from navarch.protos.k8s.authentication import v1_pb2 as authenticationv1
from navarch.protos.k8s.authorization import v1_pb2 as authorizationv1
from navarch.services.api.errors import Forbidden, ServiceUnavailable, Unauthorized
from navarch.services.base.tls import CertificateAuthority
from navarch.services.kubelet.access import Access
from navarch.services.kubelet.authorization import Deed
from navarch.services.kubelet.remembered import Remembered

AUTHORITY = CertificateAuthority.create("test", time.time())
# User -> the subresources of nodes that he may use, with the verb.
RIGHTS = {
    "operator": {"get proxy", "create proxy"},
    "observer": {"get metrics", "get stats"},
    "reader": {"get pods"},
    "system:serviceaccount:monitoring:scraper": {"get metrics"},
    "system:anonymous": {"get metrics"},
}
TOKENS = {"good": "system:serviceaccount:monitoring:scraper"}


class Clock:
    """Time by hand."""

    def __init__(self) -> None:
        self.at = 1000.0

    def monotonic(self) -> float:
        return self.at


class ApiServer:
    """Answers reviews. asked: what it was asked, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.away = False

    async def create(self, review: Any) -> Any:
        if self.away:
            raise ServiceUnavailable("nobody is there")
        if isinstance(review, authenticationv1.TokenReview):
            self.asked.append(f"who is {review.spec.token}")
            review.status.authenticated = review.spec.token in TOKENS
            review.status.user.username = TOKENS.get(review.spec.token, "")
            review.status.user.groups.append("system:serviceaccounts")
            review.status.user.extra["pod"].items.append("web")
            return review
        assert isinstance(review, authorizationv1.SubjectAccessReview)
        wanted = review.spec.resource_attributes
        assert (wanted.resource, wanted.name, wanted.version, wanted.group) == ("nodes", "n1", "v1", "")
        self.asked.append(f"may {review.spec.user} {wanted.verb} {wanted.subresource}")
        review.status.allowed = f"{wanted.verb} {wanted.subresource}" in RIGHTS.get(review.spec.user, set())
        return review


@pytest.fixture
def server() -> ApiServer:
    return ApiServer()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def access(server: Any, clock: Any, **options: Any) -> Access:
    return Access(server, clock, "n1", **options)


def certificate(name: str) -> bytes:
    return AUTHORITY.issue(name, now=time.time()).cert


@pytest.mark.parametrize(
    ("method", "path", "subresources"),
    [
        ("GET", "/stats/summary", ("get", "stats")),
        ("GET", "/metrics/cadvisor", ("get", "metrics")),
        ("GET", "/logs/", ("get", "log")),
        ("POST", "/checkpoint/default/web/main", ("create", "checkpoint")),
        ("GET", "/metrics/probes", ("get", "metrics")),
        ("GET", "/logs/pods/web/0.log", ("get", "log")),
        ("GET", "/statusz", ("get", "statusz")),
        ("GET", "/flagz", ("get", "configz")),
        ("POST", "/run/default/web/main", ("create", "proxy")),
        ("GET", "/debug/flags/v", ("get", "proxy")),
        ("GET", "/pods", ("get", "pods", "proxy")),
        ("GET", "/runningpods/", ("get", "pods", "proxy")),
        ("GET", "/configz", ("get", "configz", "proxy")),
        ("GET", "/healthz/ping", ("get", "healthz", "proxy")),
        ("GET", "/containerLogs/default/web/main", ("get", "proxy")),
        ("POST", "/exec/default/web/main", ("create", "proxy")),
        ("DELETE", "/whatever", ("delete", "proxy")),
        ("GET", "/", ("get", "proxy")),
    ],
)
def test_what_a_request_is_about(method: str, path: str, subresources: tuple[str, ...]) -> None:
    assert Deed.of(method, path) == Deed(subresources[0], subresources[1:])


async def test_the_fine_right_is_asked_for_first_and_then_the_one_for_all(server: ApiServer, clock: Clock) -> None:
    door = access(server, clock)
    await door.require(certificate("reader"), "", "GET", "/pods")
    await door.require(certificate("operator"), "", "GET", "/pods")
    assert server.asked == ["may reader get pods", "may operator get pods", "may operator get proxy"]
    with pytest.raises(Forbidden, match=r"user=reader, verb=get, resource=nodes, subresource=proxy"):
        await door.require(certificate("reader"), "", "GET", "/configz")


async def test_tokens_are_reviewed(server: ApiServer, clock: Clock) -> None:
    door = access(server, clock)
    await door.require(None, "Bearer good", "GET", "/metrics")
    for header in ("Bearer bad", "Bearer ", "Basic good", "good"):
        with pytest.raises(Unauthorized):
            await door.require(None, header, "GET", "/metrics")
    with pytest.raises(Forbidden):
        await door.require(None, "bearer good", "GET", "/pods")


async def test_answers_are_remembered_for_their_time(server: ApiServer, clock: Clock) -> None:
    door = access(server, clock)

    async def asked(path: str) -> int:
        before = len(server.asked)
        try:
            await door.require(None, "Bearer good", "GET", path)
        except Forbidden:
            pass
        return len(server.asked) - before

    assert [await asked("/metrics"), await asked("/metrics"), await asked("/stats")] == [2, 0, 1]
    clock.at += 29
    assert await asked("/stats") == 0
    clock.at += 2
    assert await asked("/stats") == 1
    clock.at += 100
    assert await asked("/metrics") == 1, "who it is, but not what it may do"
    clock.at += 200
    assert await asked("/metrics") == 2


async def test_the_nameless(server: ApiServer, clock: Clock) -> None:
    with pytest.raises(Unauthorized):
        await access(server, clock).require(None, "", "GET", "/metrics")
    assert server.asked == []
    door = access(server, clock, anonymous=True)
    await door.require(None, "", "GET", "/metrics")
    with pytest.raises(Forbidden):
        await door.require(None, "", "GET", "/pods")
    with pytest.raises(Unauthorized):
        await door.require(None, "Bearer bad", "GET", "/metrics")


async def test_without_an_api_server_nobody_is_let_in_but_those_that_are_known(server: ApiServer, clock: Clock) -> None:
    door = access(server, clock)
    await door.require(certificate("observer"), "", "GET", "/metrics")
    server.away = True
    await door.require(certificate("observer"), "", "GET", "/metrics")
    await door.require(None, "", "GET", "/healthz")
    for header in ("Bearer good", ""):
        with pytest.raises(ServiceUnavailable if header else Unauthorized):
            await door.require(None, header, "GET", "/metrics")
    with pytest.raises(ServiceUnavailable):
        await door.require(certificate("operator"), "", "GET", "/metrics")


def test_the_memory_is_bounded(clock: Any) -> None:
    memory: Remembered[int, int] = Remembered(clock, most=3)
    for number in range(5):
        memory.put(number, number, 10)
    assert [number for number in range(5) if memory.get(number)] == [2, 3, 4]
