"""What a careless or hostile client may send: it gets the refusal it deserves, and nobody else notices."""

import base64
from contextlib import aclosing
from typing import Any

import grpc
import orjson
import pytest

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.coordination import v1_pb2 as coordinationv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.protos.navarch import objects_pb2, objects_pb2_grpc
from navarch.services.api import errors, rpc_status
from navarch.services.client import requests
from navarch.services.client.client import Client

CONFIG_MAPS = objects_pb2.Resource(version="v1", resource="configmaps")
PODS = objects_pb2.Resource(version="v1", resource="pods")
# What other gRPC libraries take by default.
FOREIGN_LIMIT_BYTES = 4 << 20


def config_map(name: str, **data: str) -> corev1.ConfigMap:
    made = corev1.ConfigMap(data=data)
    made.metadata.name, made.metadata.namespace = name, "default"
    return made


def pod(name: str, node: str = "") -> corev1.Pod:
    made = corev1.Pod()
    made.metadata.name, made.metadata.namespace = name, "default"
    made.spec.containers.add(name="main", image="example.org/image:1")
    made.spec.node_name = node
    return made


async def refusal_of(client: Client, method: str, request: Any) -> errors.ApiError:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await getattr(objects_pb2_grpc.ObjectsStub(client.channel), method)(request)
    return rpc_status.from_rpc(refused.value)


def not_unicode() -> list[Any]:
    named, generated = pod("XX"), pod("")
    generated.metadata.generate_name = "XX"
    labelled, noted, held, run = pod("a"), pod("a"), pod("a"), pod("a")
    labelled.metadata.labels["XX"] = "v"
    noted.metadata.annotations["k"] = "XX"
    held.metadata.finalizers.append("XX")
    run.spec.containers[0].args.append("XX")
    return [
        pytest.param(named, "metadata.name", id="name"),
        pytest.param(generated, "metadata.generateName", id="prefix of a name"),
        pytest.param(labelled, "metadata.labels", id="key of a label"),
        pytest.param(noted, "metadata.annotations[k]", id="value of an annotation"),
        pytest.param(held, "metadata.finalizers[0]", id="finalizer"),
        pytest.param(run, "spec.containers[0].args[0]", id="argument"),
    ]


@pytest.mark.parametrize(("message", "field"), not_unicode())
async def test_text_that_is_no_unicode_is_a_bad_request(client: Client, message: corev1.Pod, field: str) -> None:
    request = objects_pb2.CreateRequest(resource=PODS, namespace="default", object=requests.pack(message))
    request.object.value = request.object.value.replace(b"XX", b"\xff\xfe")
    failure = await refusal_of(client, "Create", request)
    assert isinstance(failure, errors.BadRequest)
    assert failure.message.startswith(f"{field}: ")


async def test_a_time_beyond_all_calendars_is_a_bad_request(client: Client) -> None:
    event = corev1.Event(involved_object={"namespace": "default"})
    event.metadata.name, event.metadata.namespace = "e", "default"
    event.last_timestamp.seconds = 1 << 60
    with pytest.raises(errors.BadRequest, match="lastTimestamp"):
        await client.create(event)


async def test_unknown_fields_are_not_kept(client: Client) -> None:
    request = objects_pb2.CreateRequest(
        resource=CONFIG_MAPS, namespace="default", object=requests.pack(config_map("a"))
    )
    request.object.value += b"\xfa\x3f\x03xyz"
    await objects_pb2_grpc.ObjectsStub(client.channel).Create(request)
    assert b"xyz" not in (await client.get(corev1.ConfigMap, "a", "default")).SerializeToString()


def token(revision: object) -> str:
    content = {"v": "meta.k8s.io/v1", "rv": revision, "start": "default/a"}
    return base64.urlsafe_b64encode(orjson.dumps(content)).decode()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"resource_version": "9999999999999999999", "resource_version_match": "Exact"}, "out of range"),
        ({"resource_version": "9223372036854775807", "resource_version_match": "Exact"}, "future"),
        ({"resource_version": "-1"}, "invalid syntax"),
        ({"continue_token": token(2**63)}, "incorrect encoded values"),
        ({"continue_token": token(True)}, "incorrect encoded values"),
        ({"continue_token": token(0)}, "incorrect encoded values"),
    ],
)
async def test_numbers_beyond_what_the_store_counts(client: Client, options: dict[str, Any], message: str) -> None:
    failure = await refusal_of(client, "List", objects_pb2.ListRequest(resource=CONFIG_MAPS, **options))
    assert isinstance(failure, errors.BadRequest)
    assert message in failure.message


async def test_the_largest_limit_is_no_limit(client: Client) -> None:
    await client.create(config_map("a"))
    listed = await client.list(corev1.ConfigMap, "default", limit=2**63 - 1, label_selector="a!=b")
    assert [item.metadata.name for item in listed.items] == ["a"]


@pytest.mark.parametrize(("grace", "kept"), [(-7, 1), (2**63 - 1, 2**31 - 1)])
async def test_a_grace_period_beyond_measure(client: Client, grace: int, kept: int) -> None:
    forever = pod("a", node="n1")
    forever.spec.termination_grace_period_seconds = 2**63 - 1
    await client.create(forever)
    marked = await client.delete(corev1.Pod, "a", "default", grace_period_seconds=grace)
    assert marked is not None
    assert marked.metadata.deletion_grace_period_seconds == kept


async def test_a_dry_run_of_another_kind_is_no_delete(client: Client) -> None:
    await client.create(config_map("a"))
    options = metav1.DeleteOptions(dry_run=["Some"])
    failure = await refusal_of(client, "Delete", requests.delete_request(corev1.ConfigMap, "a", "default", options))
    assert "dryRun" in failure.message
    assert await client.get(corev1.ConfigMap, "a", "default")


@pytest.mark.parametrize("type_", ["merge", "strategic"])
async def test_a_deep_patch_is_a_bad_request(client: Client, type_: Any) -> None:
    await client.create(config_map("a"))
    deep = b'{"metadata":' + b'{"a":' * 1000 + b"1" + b"}" * 1001
    with pytest.raises(errors.BadRequest):
        await client.patch(corev1.ConfigMap, "a", "default", deep, type_)


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/data/k", "value": "guess"},
        {"op": "replace", "path": "/data/other", "value": "x"},
        {"op": "add", "path": "/nowhere/at/all", "value": "x"},
        {"op": "copy", "from": "/data/other", "path": "/data/k"},
    ],
)
async def test_a_refused_json_patch_says_nothing_of_the_object(client: Client, operation: dict[str, str]) -> None:
    secret = corev1.Secret(data={"k": b"swordfish"})
    secret.metadata.name, secret.metadata.namespace = "s", "default"
    await client.create(secret)
    with pytest.raises(errors.ApiError) as refused:
        await client.patch(corev1.Secret, "s", "default", [operation], "json")
    assert refused.value.code == 422
    assert base64.b64encode(b"swordfish").decode() not in refused.value.message


@pytest.mark.parametrize("part", ["log", "exec", "proxy", "portforward"])
async def test_streams_are_not_read_as_objects(client: Client, part: str) -> None:
    await client.create(pod("a"))
    request = objects_pb2.GetRequest(resource=PODS, namespace="default", name="a", subresource=part)
    assert isinstance(await refusal_of(client, "Get", request), errors.MethodNotSupported)


async def test_a_lease_is_never_updated_blindly(client: Client) -> None:
    lease = coordinationv1.Lease()
    lease.metadata.name, lease.metadata.namespace = "l", "kube-node-lease"
    await client.create(lease)
    with pytest.raises(errors.Invalid, match=r"metadata\.resourceVersion: Invalid value: 0: must be specified"):
        await client.update(lease)


class TestLargeObjects:
    """More than one message holds, in answers that any client takes."""

    @pytest.fixture
    async def sizes(self, cluster: Any) -> list[int]:
        """Seventy-five megabytes of objects, and where each answer's size is noted."""
        for begin in range(0, 100, 25):
            made = [config_map(f"a{at:02}", k="x" * 750_000) for at in range(begin, begin + 25)]
            await cluster.client.batch([requests.mutation(requests.create_request(one)) for one in made])
        return []

    async def test_pages(self, client: Client, sizes: list[int]) -> None:
        names: list[str] = []
        page = await client.list(corev1.ConfigMap, "default", limit=100)
        while True:
            sizes.append(sum(item.ByteSize() for item in page.items))
            names += [item.metadata.name for item in page.items]
            if not page.continue_token:
                break
            page = await client.list(corev1.ConfigMap, "default", limit=100, continue_token=page.continue_token)
        assert names == [f"a{at:02}" for at in range(100)]
        assert max(sizes) < FOREIGN_LIMIT_BYTES

    async def test_a_list_of_everything_asks_for_pages(self, client: Client, sizes: list[int]) -> None:
        with pytest.raises(errors.BadRequest, match="in pages"):
            await client.list(corev1.ConfigMap, "default")

    async def test_a_watch_with_initial_events(self, client: Client, sizes: list[int]) -> None:
        request = objects_pb2.WatchRequest(
            resource=CONFIG_MAPS,
            namespace="default",
            send_initial_events=True,
            resource_version_match="NotOlderThan",
            allow_bookmarks=True,
        )
        call = objects_pb2_grpc.ObjectsStub(client.channel).Watch(request)
        events = 0
        async for response in call:
            sizes.append(response.ByteSize())
            events += len(response.events)
            if response.events[-1].type == objects_pb2.WatchEvent.BOOKMARK:
                break
        call.cancel()
        assert events == 101
        assert max(sizes) < FOREIGN_LIMIT_BYTES

    async def test_another_server_reads_them(self, cluster: Any, sizes: list[int]) -> None:
        other = await cluster.another_server()
        client = Client.connect(f"127.0.0.1:{other.port}", cluster.credentials("admin", "system:masters"))
        async with aclosing(client.watch(corev1.ConfigMap, "default")) as events:
            assert (await anext(events)).object.metadata.name == "a00"
        await client.close()

    async def test_deleting_them_all(self, client: Client, sizes: list[int]) -> None:
        shown = await client.delete_collection(corev1.ConfigMap, "default")
        assert shown.items[0].metadata.name == "a00"
        assert not (await client.list(corev1.ConfigMap, "default")).items


@pytest.mark.parametrize("type_", ["merge", "strategic"])
@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"metadata": {"uid": "x"}}, "UID in precondition"),
        ({"metadata": {"name": "x"}}, "does not match the name"),
        ({"metadata": {"resourceVersion": "1"}}, "the object has been modified"),
        ({"metadata": {"deletionTimestamp": "2020-01-01T00:00:00Z"}}, "deletionTimestamp: Invalid value"),
        ({"metadata": {"deletionGracePeriodSeconds": 5}}, "deletionGracePeriodSeconds: Invalid value"),
        ({"metadata": {"finalizers": ["x"]}}, "neither a standard finalizer name"),
        ({"kind": "Pod"}, "expected Deployment"),
        ({"spec": {"selector": {"matchLabels": {"x": "y"}}}}, "spec.selector: Invalid value"),
        ({"spec": {"replicas": "3"}}, 'found string "3", expected int32'),
        ({"spec": {"template": {"spec": {"containers": None}}}}, "containers: Required value"),
    ],
)
async def test_patches_cannot_change_what_stays(client: Client, type_: Any, patch: Any, message: str) -> None:
    made = appsv1.Deployment()
    made.metadata.name, made.metadata.namespace = "web", "default"
    made.spec.selector.match_labels["app"] = made.spec.template.metadata.labels["app"] = "web"
    made.spec.template.spec.containers.add(name="main", image="example.org/image:1")
    before = await client.create(made)
    with pytest.raises(errors.ApiError, match=message):
        await client.patch(appsv1.Deployment, "web", "default", patch, type_)
    assert await client.get(appsv1.Deployment, "web", "default") == before


async def test_no_finalizer_is_added_to_what_is_being_deleted(client: Client) -> None:
    held = config_map("a")
    held.metadata.finalizers.append("example.org/hold")
    await client.create(held)
    await client.delete(corev1.ConfigMap, "a", "default")
    with pytest.raises(errors.Invalid, match="no new finalizers can be added"):
        await client.patch(corev1.ConfigMap, "a", "default", {"metadata": {"finalizers": ["example.org/more"]}})
    # Nor is the deletion taken back.
    kept = await client.patch(corev1.ConfigMap, "a", "default", {"metadata": {"deletionTimestamp": None}}, "merge")
    assert kept.metadata.deletion_timestamp.seconds > 0


async def test_what_is_allowed_and_probably_a_mistake_is_said(client: Client) -> None:
    twice = pod("a")
    for value in ("1", "2"):
        twice.spec.containers[0].env.add(name="SAME", value=value)
    response = await objects_pb2_grpc.ObjectsStub(client.channel).Create(requests.create_request(twice))
    assert list(response.warnings) == [
        'spec.containers[0].env[1]: hides previous definition of "SAME", which may be dropped when using apply'
    ]


async def test_a_batch_keeps_going_whatever_is_in_it(client: Client) -> None:
    good = requests.create_request(config_map("a"))
    garbled = objects_pb2.CreateRequest()
    garbled.CopyFrom(good)
    garbled.object.value = b"\xff\xff"
    unnamed = requests.patch_request(corev1.ConfigMap, "", "default", {})
    mutations = [objects_pb2.Mutation(), *map(requests.mutation, (good, garbled, unnamed, good))]
    empty, made, undecodable, nameless, again = await client.batch(mutations)
    assert isinstance(made, corev1.ConfigMap)
    assert [type(one) for one in (empty, undecodable, nameless, again)] == [
        errors.BadRequest,
        errors.BadRequest,
        errors.BadRequest,
        errors.AlreadyExists,
    ]
