"""The sums the scheduler keeps against a count of everything, after any order of events."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import pod_resources
from navarch.services.scheduler.cluster import SCORING_DEFAULTS, Cluster, PodInfo

names = st.sampled_from(["a", "b", "c", "d"])
nodes = st.sampled_from(["n1", "n2", "n3"])
cpus = st.sampled_from(["", "100m", "1"])


def a_pod(name: str, cpu: str, node: str = "", uid: str = "") -> corev1.Pod:
    pod = corev1.Pod()
    pod.metadata.name, pod.metadata.namespace, pod.metadata.uid = name, "default", uid
    pod.spec.node_name = node
    container = pod.spec.containers.add(name="main")
    if cpu:
        container.resources.requests["cpu"].string = cpu
    return pod


class ClusterAgainstCount(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.sut = Cluster()
        self.known: set[str] = set()
        self.placed: dict[str, tuple[str, PodInfo]] = {}
        self.assumed: dict[str, PodInfo] = {}
        self.failing: list[PodInfo] = []

    @rule(name=nodes)
    def set_node(self, name: str) -> None:
        node = corev1.Node()
        node.metadata.name = name
        self.sut.set_node(node)
        self.known.add(name)

    @rule(name=nodes)
    def remove_node(self, name: str) -> None:
        self.sut.remove_node(name)
        self.known.discard(name)

    @rule(name=names, node=nodes, cpu=cpus)
    def assume(self, name: str, node: str, cpu: str) -> None:
        info = PodInfo.of(a_pod(name, cpu))
        self.sut.assume(info, node)
        self.placed[info.key] = node, info
        self.assumed[info.key] = info
        self.failing.append(info)

    @rule(name=names, node=nodes, cpu=cpus)
    def confirm(self, name: str, node: str, cpu: str) -> None:
        pod = a_pod(name, cpu, node)
        self.sut.set_pod(pod)
        info = PodInfo.of(pod)
        self.placed[info.key] = node, info
        self.assumed.pop(info.key, None)

    @rule(which=st.integers(0, 5))
    def binding_fails(self, which: int) -> None:
        """Perhaps long after the Pod is gone and another of its name is assumed."""
        if which < len(self.failing):
            info = self.failing.pop(which)
            is_it = self.assumed.get(info.key) is info
            assert self.sut.forget(info) == is_it
            if is_it:
                del self.placed[info.key], self.assumed[info.key]

    @rule(name=names)
    def remove_pod(self, name: str) -> None:
        key = f"default/{name}"
        assert self.sut.remove_pod(key) == (key in self.placed)
        self.placed.pop(key, None)
        self.assumed.pop(key, None)

    @rule(name=names)
    def look_without(self, name: str) -> None:
        key = f"default/{name}"
        with self.sut.without(key):
            assert all(info.key != key for _, info in self.sut.pods())

    @invariant()
    def sums_are_those_of_the_pods(self) -> None:
        assert {node.name for node in self.sut.nodes()} == self.known
        for node in self.sut.nodes():
            here = {key: info for key, (name, info) in self.placed.items() if name == node.name}
            assert node.pods.keys() == here.keys()
            for resource in ("cpu", "memory"):
                requested = sum(pod_resources.requests(info.pod).get(resource, 0) for info in here.values())
                assert node.requested.get(resource, 0) == requested
                scoring = sum(info.requests.get(resource, SCORING_DEFAULTS[resource]) for info in here.values())
                assert node.scoring_requested.get(resource, 0) == scoring
        for key in (f"default/{name}" for name in "abcd"):
            assert self.sut.is_assumed(key) == (key in self.assumed)


ClusterAgainstCount.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestClusterAgainstCount = ClusterAgainstCount.TestCase
