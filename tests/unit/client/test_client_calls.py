from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.autoscaling import v1_pb2 as autoscalingv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import errors
from navarch.services.client import requests
from navarch.services.client.client import READ_RETRIES, Client


def a_map(name: str, **data: str) -> corev1.ConfigMap:
    return corev1.ConfigMap(metadata=metav1.ObjectMeta(namespace="default", name=name), data=data)


async def test_an_object_makes_the_round(client: Client) -> None:
    created = await client.create(a_map("a", x="1"))
    assert created.metadata.uid
    read = await client.get(corev1.ConfigMap, "a", "default")
    assert read == created
    read.data["x"] = "2"
    updated = await client.update(read)
    assert updated.metadata.resource_version > created.metadata.resource_version
    assert [item.data["x"] for item in (await client.list(corev1.ConfigMap, "default")).items] == ["2"]
    assert await client.delete(corev1.ConfigMap, "a", "default") is None
    with pytest.raises(errors.NotFound):
        await client.get(corev1.ConfigMap, "a", "default")


async def test_a_delete_that_takes_time_answers_with_the_object(client: Client) -> None:
    await client.create(a_map("a"))
    left = await client.delete(corev1.ConfigMap, "a", "default", grace_period_seconds=0, uid="u", resource_version="7")
    assert left is not None
    assert left.metadata.name == "a"


async def test_delete_options_reach_the_server(client: Client, fake: Any) -> None:
    await client.create(a_map("a"))
    await client.delete(
        corev1.ConfigMap, "a", "default", grace_period_seconds=0, propagation_policy="Orphan", uid="u", dry_run=True
    )
    options = fake.requests[-1].options
    assert (options.grace_period_seconds, options.propagation_policy) == (0, "Orphan")
    assert (options.preconditions.uid, list(options.dry_run)) == ("u", ["All"])


async def test_a_collection_is_deleted_whole(client: Client, fake: Any) -> None:
    for name in "ab":
        await client.create(a_map(name))
    gone = await client.delete_collection(
        corev1.ConfigMap, "default", label_selector="app=x", propagation_policy="Background"
    )
    assert [item.metadata.name for item in gone.items] == ["a", "b"]
    sent = next(request for request in fake.requests if hasattr(request, "label_selector"))
    assert (sent.label_selector, sent.options.propagation_policy) == ("app=x", "Background")
    assert (await client.list(corev1.ConfigMap)).items == []


async def test_lists_come_in_pages(client: Client) -> None:
    for name in "abc":
        await client.create(a_map(name))
    first = await client.list(corev1.ConfigMap, "default", limit=2)
    assert (len(first.items), first.remaining_item_count) == (2, 1)
    last = await client.list(corev1.ConfigMap, "default", limit=2, continue_token=first.continue_token)
    assert [item.metadata.name for item in last.items] == ["c"]
    assert (last.continue_token, last.remaining_item_count) == ("", None)


async def test_refusals_come_back_as_what_they_were(client: Client) -> None:
    with pytest.raises(errors.NotFound, match='configmaps "a" not found'):
        await client.get(corev1.ConfigMap, "a", "default")
    await client.create(a_map("a"))
    with pytest.raises(errors.AlreadyExists):
        await client.create(a_map("a"))
    stale = a_map("a")
    stale.metadata.resource_version = "1"
    with pytest.raises(errors.Conflict):
        await client.update(stale)


async def test_causes_survive_the_way(client: Client, fake: Any) -> None:
    causes = [errors.FieldError.required("spec.containers"), errors.FieldError.invalid("metadata.name", "A", "no")]
    fake.fail("Create", errors.Invalid("pods", "a", causes))
    with pytest.raises(errors.Invalid) as caught:
        await client.create(corev1.Pod(metadata=metav1.ObjectMeta(name="a")))
    assert [cause.field for cause in caught.value.causes] == ["spec.containers", "metadata.name"]


async def test_a_bug_of_the_server_is_an_internal_error(client: Client, fake: Any) -> None:
    fake.fail("Get", ValueError("oops"))
    with pytest.raises(errors.InternalError, match="oops"):
        await client.get(corev1.ConfigMap, "a", "default")


async def test_a_batch_answers_each_on_its_own(client: Client) -> None:
    mutations = [requests.mutation(requests.create_request(a_map(name))) for name in ("a", "a", "b")]
    first, second, third = await client.batch(mutations)
    assert isinstance(first, corev1.ConfigMap)
    assert isinstance(second, errors.AlreadyExists)
    assert isinstance(third, corev1.ConfigMap)
    assert await client.batch([]) == []


async def test_binding_and_eviction_name_their_pod(client: Client, fake: Any) -> None:
    await client.bind("default", "web", "node-1", uid="u")
    bind = fake.requests[-1]
    binding = requests.unpack_as(corev1.Binding, bind.object)
    assert (bind.resource.resource, bind.name, bind.subresource) == ("pods", "web", "binding")
    assert (binding.target.name, binding.metadata.uid) == ("node-1", "u")
    await client.evict("default", "web", grace_period_seconds=5)
    assert fake.requests[-1].subresource == "eviction"


async def test_scale_is_an_object_of_its_own(client: Client, fake: Any) -> None:
    scale = autoscalingv1.Scale(metadata=metav1.ObjectMeta(namespace="default", name="web"))
    scale.spec.replicas = 3
    assert (await client.update_scale(appsv1.Deployment, scale)).spec.replicas == 3
    assert fake.requests[-1].resource.group == "apps"


async def test_a_watch_gives_what_happens(client: Client, fake: Any) -> None:
    begin = str(fake.revision)
    await fake.put(a_map("a"))
    await fake.put(a_map("a", x="1"))
    await fake.remove(a_map("a"))
    await fake.bookmark(corev1.ConfigMap)
    types = []
    async with aclosing(client.watch(corev1.ConfigMap, resource_version=begin)) as stream:
        async for event in stream:
            types.append(event.type)
            if event.type == "BOOKMARK":
                break
    assert types == ["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


async def test_a_watch_from_too_long_ago_is_expired(client: Client, fake: Any) -> None:
    await fake.compact()
    with pytest.raises(errors.Expired):
        async for _ in client.watch(corev1.ConfigMap, resource_version="1"):
            pass


async def test_reads_are_asked_again_and_writes_are_not(client: Client, fake: Any) -> None:
    await client.create(a_map("a"))
    lost = errors.ServiceUnavailable("going away")
    fake.fail("Get", *[lost] * READ_RETRIES)
    await client.get(corev1.ConfigMap, "a", "default")
    assert fake.calls["Get"] == READ_RETRIES + 1
    fake.fail("Create", lost)
    with pytest.raises(errors.ServiceUnavailable):
        await client.create(a_map("b"))
    assert fake.calls["Create"] == 2


async def test_calls_wait_for_a_server_that_restarts(client: Client, fake: Any, serve: Callable[..., Any]) -> None:
    server, port = await serve(fake)
    patient = Client.connect(f"127.0.0.1:{port}", None)
    await patient.create(a_map("a"))
    await server.stop(0)
    await serve(fake, port)
    assert (await patient.get(corev1.ConfigMap, "a", "default")).metadata.name == "a"
    await patient.close()


async def test_an_impatient_client_fails_at_once(serve: Callable[..., Any], fake: Any) -> None:
    server, port = await serve(fake)
    await server.stop(0)
    impatient = Client.connect(f"127.0.0.1:{port}", None, wait_for_ready=False)
    with pytest.raises(errors.ServiceUnavailable):
        await impatient.get(corev1.ConfigMap, "a", "default")
    await impatient.close()


async def test_a_deadline_ends_a_call(fake: Any, serve: Callable[..., Any]) -> None:
    server, port = await serve(fake)
    await server.stop(0)
    waiting = Client.connect(f"127.0.0.1:{port}", None, deadline_s=0.05)
    with pytest.raises(errors.Timeout):
        await waiting.get(corev1.ConfigMap, "a", "default")
    await waiting.close()


async def test_the_servers_word_on_the_type_is_checked(client: Client) -> None:
    packed = requests.pack(a_map("a"))
    assert requests.unpack(packed) == a_map("a")
    with pytest.raises(TypeError, match="ConfigMap"):
        requests.unpack_as(corev1.Pod, packed)
    packed.type_url = "type.googleapis.com/unknown.Type"
    with pytest.raises(KeyError):
        requests.unpack(packed)
