"""A cluster on a store of three members: what it bears, and what its workloads never notice."""

import os
import signal
import time
from functools import partial
from pathlib import Path

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.errors import ApiError
from navarch.testing.store_cluster import StoreCluster


def config_map(name: str) -> corev1.ConfigMap:
    made = corev1.ConfigMap()
    made.metadata.name, made.metadata.namespace = name, "default"
    return made


async def created(space, name: str) -> bool:
    try:
        await space.client.create(config_map(name))
    except ApiError:
        return False
    return True


async def test_workloads_outlive_the_quorum_of_the_store(a_cluster, default_space_of, tmp_path: Path) -> None:
    async with StoreCluster(tmp_path / "store", 3, certificates=True) as store:
        files = [flag.replace("--cacert", "--store-ca") for flag in store.client_files()]
        files = [flag.replace("--cert", "--store-cert").replace("--key", "--store-key") for flag in files]
        endpoints = ",".join(member.address for member in store.members.values())
        with a_cluster([f"--store-endpoints={endpoints}", *files]) as cluster:
            client = cluster.connect()
            try:
                await live_through_it(store, default_space_of(cluster, client))
            except BaseException:
                cluster.print_logs()
                raise
            finally:
                await client.close()


async def live_through_it(store: StoreCluster, space) -> None:
    await space.deployment("web", 2, "exec sleep 1000")
    pods = await space.running("web", 2)
    before = space.cluster.tasks()

    # One of three is missing: everything works.
    first = await store.leader()
    await store.kill(first)

    await space.eventually(partial(created, space, "one-down"), "a write with one member down")
    await space.navarch("scale", "deployment/web", "--replicas=3")
    pods = await space.running("web", 3)
    before = space.cluster.tasks()

    # Two are missing: nothing can be written, and what runs goes on, under the kubelet's care.
    second = await store.leader()
    await store.kill(second)
    began = time.monotonic()
    with pytest.raises(ApiError) as refusal:
        await space.client.create(config_map("two-down"))
    print(f"without a quorum a write is refused after {time.monotonic() - began:.1f} s: {refusal.value}")
    assert refusal.value.code in (500, 503, 504), refusal.value
    assert space.cluster.tasks() == before
    victim, pid = next(iter(before.items()))
    os.kill(pid, signal.SIGKILL)

    async def started_again() -> bool:
        now = space.cluster.tasks()
        return len(now) == len(before) and victim not in now

    await space.eventually(started_again, "the container that was killed is started again")
    untouched = before.keys() - {victim}
    assert untouched <= space.cluster.tasks().keys()

    # They are back: so is the cluster, with the same Pods.
    await store.start(first)
    await store.start(second)
    await space.eventually(partial(created, space, "all-back"), "a write with all members back")
    again = await space.running("web", 3)
    assert sorted(pod.metadata.uid for pod in again) == sorted(pod.metadata.uid for pod in pods)
    assert untouched <= space.cluster.tasks().keys()
