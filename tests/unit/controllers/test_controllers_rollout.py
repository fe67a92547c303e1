"""Rolling updates under random schedules: bounds hold at every moment, and the rollout ends.

The world around the plan is a model: ReplicaSets whose controller, status, cache and kubelet each lag by as
much as the schedule wants.
"""

import random
from dataclasses import dataclass, field

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from navarch.protos.k8s import intstr_pb2
from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.services.controller_manager.deployment.limits import Limits
from navarch.services.controller_manager.deployment.plan import Observed, plan
from navarch.services.controller_manager.deployment.status import is_complete
from navarch.services.controller_manager.deployment.template import same

NOW = 1_700_000_000.0


def a_deployment(replicas: int, strategy: str = "RollingUpdate", image: str = "v1") -> appsv1.Deployment:
    deployment = appsv1.Deployment()
    deployment.metadata.name, deployment.metadata.namespace, deployment.metadata.uid = "web", "default", "uid-web"
    deployment.spec.replicas = replicas
    deployment.spec.strategy.type = strategy
    deployment.spec.selector.match_labels["app"] = "web"
    deployment.spec.template.metadata.labels["app"] = "web"
    deployment.spec.template.spec.containers.add(name="main", image=image)
    return deployment


def amount(value: int | str) -> intstr_pb2.IntOrString:
    if isinstance(value, int):
        return intstr_pb2.IntOrString(type=0, int_val=value)
    return intstr_pb2.IntOrString(type=1, str_val=value)


def version(replica_set: appsv1.ReplicaSet | None) -> int:
    return int(replica_set.metadata.resource_version or 0) if replica_set is not None else 0


@dataclass
class Cluster:
    """The truth: ReplicaSets as stored, and their Pods as booleans (ready or not)."""

    deployment: appsv1.Deployment
    rng: random.Random
    stored: dict[str, appsv1.ReplicaSet] = field(default_factory=dict)
    cached: dict[str, appsv1.ReplicaSet] = field(default_factory=dict)
    pods: dict[str, list[bool]] = field(default_factory=dict)
    clock: int = int(NOW)
    # What the deployment controller wrote last, which it waits to see.
    written: dict[str, int] = field(default_factory=dict)

    def change(self, image: str = "", replicas: int | None = None) -> None:
        self.deployment.metadata.generation += 1
        if image:
            self.deployment.spec.template.spec.containers[0].image = image
        if replicas is not None:
            self.deployment.spec.replicas = replicas

    def step(self) -> None:
        actors = [self.deployment_controller, self.replica_set_controller, self.reporter, self.kubelet, self.cache]
        self.rng.choice(actors)()

    def deployment_controller(self) -> None:
        if any(version(self.cached.get(name)) < written for name, written in self.written.items()):
            return
        old_pods = any(
            pods and not same(self.stored[name].spec.template, self.deployment.spec.template)
            for name, pods in self.pods.items()
        )
        step = plan(Observed(self.deployment, list(self.cached.values()), old_pods), NOW)
        if step.create is not None:
            if step.create.metadata.name in self.stored:
                return
            self.clock += 1
            step.create.metadata.creation_timestamp.seconds = self.clock
            step.create.metadata.uid = step.create.metadata.name
            self.write(step.create)
            self.pods[step.create.metadata.name] = []
        for resize in step.resize:
            current = self.stored[resize.replica_set.metadata.name]
            if current.metadata.resource_version != resize.replica_set.metadata.resource_version:
                return
            self.write(resize.replica_set)
        if step.revision is not None:
            self.deployment.metadata.annotations["deployment.kubernetes.io/revision"] = step.revision
        if step.status is not None:
            self.deployment.status.CopyFrom(step.status)

    def write(self, replica_set: appsv1.ReplicaSet) -> None:
        stored = appsv1.ReplicaSet()
        stored.CopyFrom(replica_set)
        stored.metadata.generation += 1
        stored.metadata.resource_version = str(int(stored.metadata.resource_version or 0) + 1)
        self.stored[stored.metadata.name] = stored
        self.written[stored.metadata.name] = version(stored)

    def pick(self) -> str | None:
        return self.rng.choice(sorted(self.stored)) if self.stored else None

    def replica_set_controller(self) -> None:
        if (name := self.pick()) is None:
            return
        pods, wanted = self.pods[name], self.stored[name].spec.replicas
        # Those that are not ready go first.
        pods.sort()
        del pods[: max(0, len(pods) - wanted)]
        pods += [False] * (wanted - len(pods))

    def reporter(self) -> None:
        """The other half of the ReplicaSet controller: it may see Pods later than it made them."""
        if (name := self.pick()) is None:
            return
        stored = self.stored[name]
        stored.status.replicas = len(self.pods[name])
        stored.status.ready_replicas = stored.status.available_replicas = sum(self.pods[name])
        stored.status.observed_generation = stored.metadata.generation
        stored.metadata.resource_version = str(int(stored.metadata.resource_version) + 1)

    def kubelet(self) -> None:
        if (name := self.pick()) is not None and False in self.pods[name]:
            self.pods[name][self.pods[name].index(False)] = True

    def cache(self) -> None:
        if (name := self.pick()) is not None:
            copy = appsv1.ReplicaSet()
            copy.CopyFrom(self.stored[name])
            self.cached[name] = copy

    def available(self) -> int:
        return sum(map(sum, self.pods.values()))

    def total(self) -> int:
        return sum(map(len, self.pods.values()))

    def settle(self, limit: int = 20_000) -> bool:
        """Run until the Deployment says that it is done."""
        for _ in range(limit):
            if self.is_done():
                return True
            self.step()
        return False

    def is_done(self) -> bool:
        return is_complete(self.deployment, self.deployment.status) and self.total() == self.deployment.spec.replicas


amounts = st.one_of(st.integers(0, 5), st.integers(0, 100).map(lambda percent: f"{percent}%"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(replicas=2, surge=2, unavailable=0, seed=212, turns=3)
@example(replicas=7, surge=0, unavailable=0, seed=71, turns=1)
@example(replicas=1, surge=1, unavailable=0, seed=12, turns=1)
@given(replicas=st.integers(1, 10), surge=amounts, unavailable=amounts, seed=st.integers(), turns=st.integers(0, 3))
def test_a_rolling_update_stays_within_its_limits(
    replicas: int, surge: int | str, unavailable: int | str, seed: int, turns: int
) -> None:
    deployment = a_deployment(replicas)
    deployment.spec.strategy.rolling_update.max_surge.CopyFrom(amount(surge))
    deployment.spec.strategy.rolling_update.max_unavailable.CopyFrom(amount(unavailable))
    limits = Limits.of(deployment.spec)
    cluster = Cluster(deployment, random.Random(seed))
    assert cluster.settle()
    for turn in range(turns + 1):
        # New images, and back to an earlier one, some of them while the last rollout is still on.
        cluster.change(image=f"v{(turn + 1) % 3 + 1}")
        for _ in range(cluster.rng.randrange(300)):
            cluster.step()
            assert cluster.available() >= limits.min_available, "too few available"
            assert cluster.total() <= limits.max_total, "too many Pods"
    for _ in range(20_000):
        if cluster.is_done():
            break
        cluster.step()
        assert cluster.available() >= limits.min_available, "too few available"
        assert cluster.total() <= limits.max_total, "too many Pods"
    assert cluster.is_done(), "the rollout never ended"


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(replicas=st.integers(1, 6), seed=st.integers())
def test_recreate_never_mixes_templates(replicas: int, seed: int) -> None:
    deployment = a_deployment(replicas, "Recreate")
    cluster = Cluster(deployment, random.Random(seed))
    assert cluster.settle()
    cluster.change(image="v2")
    for _ in range(20_000):
        if cluster.is_done():
            break
        cluster.step()
        assert sum(1 for pods in cluster.pods.values() if pods) <= 1, "Pods of both templates"
    assert cluster.is_done(), "the rollout never ended"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(sizes=[5, 4], seed=9)
@given(sizes=st.lists(st.integers(0, 12), min_size=1, max_size=5), seed=st.integers())
def test_scaling_in_the_middle_of_a_rollout_ends_at_the_last_size(sizes: list[int], seed: int) -> None:
    cluster = Cluster(a_deployment(4), random.Random(seed))
    assert cluster.settle()
    cluster.change(image="v2")
    for size in sizes:
        cluster.change(replicas=size)
        for _ in range(cluster.rng.randrange(100)):
            cluster.step()
    assert cluster.settle(), "the rollout never ended"
