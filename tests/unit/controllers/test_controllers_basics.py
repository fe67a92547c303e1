"""Own writes, ownership, Namespaces and what they get."""

import pytest

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.labels import Selector
from navarch.services.api.meta import owner_reference
from navarch.services.controller_manager import ownership, parallel
from navarch.services.controller_manager.namespace.plan import Content, is_ours, released, status
from navarch.services.controller_manager.own_writes import TTL_S, OwnWrites
from navarch.services.controller_manager.service_account.plan import root_ca, wants_content

NOW = 1_700_000_000.0


def a_pod(name: str = "p", version: int = 1, uid: str = "", leaving: bool = False, **labels: str) -> corev1.Pod:
    pod = corev1.Pod()
    pod.metadata.name, pod.metadata.namespace, pod.metadata.uid = name, "default", uid or f"uid-{name}"
    pod.metadata.resource_version = str(version)
    pod.metadata.labels.update(labels)
    if leaving:
        pod.metadata.deletion_timestamp.seconds = 1
    return pod


@pytest.mark.parametrize(
    ("cached", "after_write", "after_deletion"),
    [
        pytest.param(None, False, True, id="not there"),
        pytest.param(a_pod(version=4), False, False, id="older"),
        pytest.param(a_pod(version=5), True, False, id="as written"),
        pytest.param(a_pod(version=9), True, False, id="newer"),
        pytest.param(a_pod(version=9, leaving=True), True, True, id="leaving"),
        pytest.param(a_pod(version=9, uid="other"), True, True, id="a newer namesake"),
        pytest.param(a_pod(version=3, uid="other"), False, True, id="an older namesake"),
    ],
)
def test_a_cache_shows_own_writes(cached: corev1.Pod | None, after_write: bool, after_deletion: bool) -> None:
    written, deleted = OwnWrites(), OwnWrites()
    written.wrote("key", [a_pod(version=5)], 0)
    deleted.deleted("key", [a_pod(version=5)], 0)
    assert written.settled("key", lambda _: cached, 1) is after_write
    assert deleted.settled("key", lambda _: cached, 1) is after_deletion
    assert written.settled("other", lambda _: cached, 1)


def test_own_writes_are_forgotten_when_seen_gone_or_old() -> None:
    writes = OwnWrites()
    writes.wrote("key", [a_pod()], 0)
    assert not writes.settled("key", lambda _: None, 1)
    writes.saw_deletion("key", a_pod())
    assert writes.settled("key", lambda _: None, 1)
    writes.wrote("key", [a_pod()], 0)
    assert not writes.settled("key", lambda _: None, TTL_S - 1)
    assert writes.settled("key", lambda _: None, TTL_S)


class TestOwnership:
    """Who belongs to whom."""

    def owner(self, leaving: bool = False) -> appsv1.ReplicaSet:
        owner = appsv1.ReplicaSet()
        owner.metadata.name = owner.metadata.uid = "rs"
        if leaving:
            owner.metadata.deletion_timestamp.seconds = 1
        return owner

    @pytest.mark.parametrize(
        ("owned_by", "labels", "pod_leaves", "owner_leaves", "expected"),
        [
            pytest.param("rs", {"app": "web"}, False, False, "owned", id="ours"),
            pytest.param("rs", {}, False, False, "release", id="no longer matches"),
            pytest.param("rs", {}, False, True, "owned", id="an owner that leaves releases nothing"),
            pytest.param("other", {"app": "web"}, False, False, None, id="another's"),
            pytest.param("", {"app": "web"}, False, False, "adopt", id="matching orphan"),
            pytest.param("", {}, False, False, None, id="foreign orphan"),
            pytest.param("", {"app": "web"}, True, False, None, id="orphan that leaves"),
            pytest.param("", {"app": "web"}, False, True, None, id="an owner that leaves adopts nothing"),
        ],
    )
    def test_claim(
        self, owned_by: str, labels: dict[str, str], pod_leaves: bool, owner_leaves: bool, expected: str | None
    ) -> None:
        pod = a_pod(leaving=pod_leaves, **labels)
        if owned_by:
            other = appsv1.ReplicaSet()
            other.metadata.name = other.metadata.uid = owned_by
            pod.metadata.owner_references.append(owner_reference(other))
        claimed = ownership.claim(self.owner(owner_leaves), Selector.parse("app=web"), [pod])
        found = {"owned": claimed.owned, "adopt": claimed.adopt, "release": claimed.release}
        assert {name: pods for name, pods in found.items() if pods} == ({expected: [pod]} if expected else {})

    def test_patches_name_the_object_they_mean(self) -> None:
        pod = a_pod()
        adopted = ownership.adoption(owner_reference(self.owner()), pod)["metadata"]
        assert adopted["uid"] == "uid-p"
        assert adopted["ownerReferences"][0]["controller"] is True
        released = ownership.release(["rs"], "uid-p")["metadata"]
        assert released == {"uid": "uid-p", "ownerReferences": [{"$patch": "delete", "uid": "rs"}]}


class TestNamespaces:
    """Namespaces that go, and what those that stay get."""

    def leaving(self) -> corev1.Namespace:
        namespace = corev1.Namespace()
        namespace.metadata.name = "team"
        namespace.metadata.deletion_timestamp.seconds = 1
        namespace.spec.finalizers.extend(["kubernetes", "example.com/other"])
        return namespace

    def test_only_our_finalizer_goes(self) -> None:
        assert list(released(self.leaving()).spec.finalizers) == ["example.com/other"]
        assert is_ours(self.leaving())
        assert not is_ours(released(self.leaving()))
        assert not is_ours(corev1.Namespace())

    def test_conditions(self) -> None:
        content = Content({"pods": 2, "configmaps": 1}, {"example.com/hold": 1}, ("pods: no",))
        after = status(self.leaving(), content, NOW)
        assert after is not None
        found = {each.type: (each.status, each.message) for each in after.conditions}
        assert after.phase == "Terminating"
        assert found["NamespaceContentRemaining"] == (
            "True",
            "Some resources are remaining: configmaps has 1 resource instances, pods has 2 resource instances",
        )
        assert found["NamespaceFinalizersRemaining"][0] == "True"
        assert found["NamespaceDeletionContentFailure"][0] == "True"
        assert found["NamespaceDeletionDiscoveryFailure"][0] == "False"

    def test_counts_alone_are_not_written(self) -> None:
        namespace = self.leaving()
        namespace.status.CopyFrom(status(namespace, Content({"pods": 2}), NOW))
        assert status(namespace, Content({"pods": 1}), NOW + 1) is None
        assert status(namespace, Content(), NOW + 1) is not None

    def test_a_leaving_namespace_gets_nothing(self) -> None:
        assert not wants_content(self.leaving())
        assert wants_content(corev1.Namespace())

    def test_the_certificate_is_kept(self) -> None:
        wanted = root_ca("team", "PEM", None)
        assert wanted is not None
        assert root_ca("team", "PEM", wanted) is None
        assert root_ca("team", "NEW", wanted).data == {"ca.crt": "NEW"}


async def test_parallel_calls_are_limited_and_the_first_failure_counts() -> None:
    running = most = 0

    async def call(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            if number == 7:
                raise ValueError("seven")
            return number * 2
        finally:
            running -= 1

    assert await parallel.each(range(5), call, 2) == {0: 0, 1: 2, 2: 4, 3: 6, 4: 8}
    assert most <= 2
    with pytest.raises(ValueError, match="seven"):
        await parallel.each(range(10), call, 3)
