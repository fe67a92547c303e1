"""Create, get, update, patch and delete, through the door."""

import re
from typing import Any

import pytest

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.coordination import v1_pb2 as coordinationv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.events import v1_pb2 as eventsv1
from navarch.protos.navarch import objects_pb2
from navarch.services.api import errors
from navarch.services.api.kinds import KINDS
from navarch.services.client.client import Client


def config_map(name: str = "", namespace: str = "default", **data: str) -> corev1.ConfigMap:
    made = corev1.ConfigMap(data=data)
    made.metadata.name, made.metadata.namespace = name, namespace
    return made


def pod(name: str, node: str = "", **labels: str) -> corev1.Pod:
    made = corev1.Pod()
    made.metadata.name, made.metadata.namespace = name, "default"
    made.metadata.labels.update(labels)
    made.spec.containers.add(name="main", image="example.org/image:1")
    made.spec.node_name = node
    return made


def deployment(name: str, replicas: int = 2) -> appsv1.Deployment:
    made = appsv1.Deployment()
    made.metadata.name, made.metadata.namespace = name, "default"
    made.spec.replicas = replicas
    made.spec.selector.match_labels["app"] = name
    made.spec.template.metadata.labels["app"] = name
    made.spec.template.spec.containers.add(name="main", image="example.org/image:1")
    return made


class TestCreate:
    async def test_gives_a_new_object_its_identity(self, client: Client) -> None:
        made = await client.create(config_map("a", k="v"))
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", made.metadata.uid)
        assert made.metadata.creation_timestamp.seconds > 0
        assert int(made.metadata.resource_version) > 0
        assert made == await client.get(corev1.ConfigMap, "a", "default")

    async def test_generates_names(self, client: Client) -> None:
        wanted = config_map()
        wanted.metadata.generate_name = "x-"
        names = {(await client.create(wanted)).metadata.name for _ in range(3)}
        assert len(names) == 3
        assert all(re.fullmatch(r"x-[a-z0-9]{5}", name) for name in names)

    async def test_defaults_a_pod(self, client: Client) -> None:
        made = await client.create(pod("web"))
        assert made.spec.service_account_name == "default"
        assert made.spec.priority == 0
        assert {toleration.key for toleration in made.spec.tolerations} == {
            "node.kubernetes.io/not-ready",
            "node.kubernetes.io/unreachable",
        }

    @pytest.mark.parametrize(
        ("wrong", "refusal", "message"),
        [
            pytest.param(config_map("Wrong_Name"), errors.Invalid, "metadata.name", id="name"),
            pytest.param(config_map("a", "nowhere"), errors.NotFound, 'namespaces "nowhere" not found', id="namespace"),
            pytest.param(config_map(""), errors.Invalid, "name or generateName is required", id="nameless"),
        ],
    )
    async def test_refuses(self, client: Client, wrong: Any, refusal: type[errors.ApiError], message: str) -> None:
        with pytest.raises(refusal, match=re.escape(message)):
            await client.create(wrong)

    async def test_refuses_a_second_of_the_same_name(self, client: Client) -> None:
        await client.create(config_map("a"))
        with pytest.raises(errors.AlreadyExists, match='configmaps "a" already exists'):
            await client.create(config_map("a"))

    async def test_refuses_a_resource_version(self, client: Client) -> None:
        wrong = config_map("a")
        wrong.metadata.resource_version = "5"
        with pytest.raises(errors.BadRequest, match="resourceVersion should not be set"):
            await client.create(wrong)

    async def test_a_dry_run_stores_nothing(self, client: Client) -> None:
        assert (await client.create(config_map("a"), dry_run=True)).metadata.uid
        with pytest.raises(errors.NotFound):
            await client.get(corev1.ConfigMap, "a", "default")

    async def test_every_kind_can_be_stored(self, client: Client) -> None:
        for kind in KINDS:
            if "create" not in kind.verbs or not kind.key_prefix or kind.stored_as != kind.api_version:
                continue
            obj: Any = kind.message()
            obj.metadata.name = "sample"
            if kind.namespaced:
                obj.metadata.namespace = "default"
            try:
                made: Any = await client.create(obj)
            except errors.Invalid:
                # An empty one breaks rules of its kind; it was understood all the same.
                continue
            assert await client.get(kind.message, made.metadata.name, made.metadata.namespace) == made


class TestUpdate:
    async def test_replaces_and_counts_revisions(self, client: Client) -> None:
        made = await client.create(config_map("a", k="1"))
        made.data["k"] = "2"
        changed = await client.update(made)
        assert changed.data["k"] == "2"
        assert int(changed.metadata.resource_version) > int(made.metadata.resource_version)
        assert changed.metadata.uid == made.metadata.uid

    async def test_refuses_an_old_version(self, client: Client) -> None:
        old = await client.create(config_map("a", k="1"))
        await client.patch(corev1.ConfigMap, "a", "default", {"data": {"k": "2"}}, "merge")
        with pytest.raises(errors.Conflict, match="the object has been modified"):
            await client.update(old)

    async def test_without_a_version_is_unconditional(self, client: Client) -> None:
        made = await client.create(config_map("a", k="1"))
        made.metadata.ClearField("resource_version")
        made.metadata.ClearField("uid")
        made.data["k"] = "3"
        assert (await client.update(made)).data["k"] == "3"

    async def test_that_changes_nothing_writes_nothing(self, client: Client) -> None:
        made = await client.create(config_map("a", k="1"))
        assert (await client.update(made)).metadata.resource_version == made.metadata.resource_version

    async def test_of_nothing_is_not_found(self, client: Client) -> None:
        with pytest.raises(errors.NotFound):
            await client.update(config_map("a"))

    async def test_of_another_uid_conflicts(self, client: Client) -> None:
        made = await client.create(config_map("a"))
        made.metadata.uid = "another"
        with pytest.raises(errors.Conflict, match="Precondition failed: UID"):
            await client.update(made)

    async def test_status_and_spec_are_apart(self, client: Client) -> None:
        made = await client.create(deployment("web"))
        assert made.metadata.generation == 1
        made.spec.replicas, made.status.replicas = 5, 5
        with_status = await client.update_status(made)
        assert (with_status.spec.replicas, with_status.status.replicas, with_status.metadata.generation) == (2, 5, 1)
        with_status.spec.replicas, with_status.status.replicas = 7, 7
        with_spec = await client.update(with_status)
        assert (with_spec.spec.replicas, with_spec.status.replicas, with_spec.metadata.generation) == (7, 5, 2)

    async def test_scale(self, client: Client) -> None:
        await client.create(deployment("web", replicas=2))
        scale = await client.get_scale(appsv1.Deployment, "web", "default")
        assert (scale.spec.replicas, scale.status.selector) == (2, "app=web")
        scale.spec.replicas = 9
        assert (await client.update_scale(appsv1.Deployment, scale)).spec.replicas == 9
        assert (await client.get(appsv1.Deployment, "web", "default")).spec.replicas == 9
        scale.metadata.ClearField("resource_version")
        scale.spec.replicas = -1
        with pytest.raises(errors.Invalid, match="greater than or equal to 0"):
            await client.update_scale(appsv1.Deployment, scale)

    async def test_a_lease_is_renewed(self, client: Client) -> None:
        lease = coordinationv1.Lease()
        lease.metadata.name, lease.metadata.namespace = "l", "kube-node-lease"
        lease.spec.holder_identity = "me"
        made = await client.create(lease)
        made.spec.lease_duration_seconds = 40
        assert (await client.update(made)).spec.lease_duration_seconds == 40


class TestPatch:
    @pytest.mark.parametrize(
        ("type_", "patch"),
        [
            pytest.param("json", [{"op": "replace", "path": "/data/k", "value": "2"}], id="json"),
            pytest.param("merge", {"data": {"k": "2"}}, id="merge"),
            pytest.param("strategic", {"data": {"k": "2"}}, id="strategic"),
        ],
    )
    async def test_types(self, client: Client, type_: Any, patch: Any) -> None:
        await client.create(config_map("a", k="1", other="x"))
        patched = await client.patch(corev1.ConfigMap, "a", "default", patch, type_)
        assert dict(patched.data) == {"k": "2", "other": "x"}

    async def test_strategic_merges_lists_by_key(self, client: Client) -> None:
        await client.create(deployment("web"))
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "example.org/image:2"}]}}}}
        patched = await client.patch(appsv1.Deployment, "web", "default", patch)
        [container] = patched.spec.template.spec.containers
        assert (container.name, container.image) == ("main", "example.org/image:2")
        assert patched.metadata.generation == 2

    async def test_of_status_leaves_spec_alone(self, client: Client) -> None:
        await client.create(pod("web"))
        patch = {"spec": {"nodeName": "n"}, "status": {"phase": "Running"}}
        patched = await client.patch(corev1.Pod, "web", "default", patch, "merge", subresource="status")
        assert (patched.spec.node_name, patched.status.phase) == ("", "Running")

    async def test_concurrent_patches_all_take_effect(self, cluster: Any) -> None:
        import asyncio

        client: Client = cluster.client
        await client.create(config_map("a"))
        patches = [
            client.patch(corev1.ConfigMap, "a", "default", {"data": {f"k{index}": "v"}}, "merge") for index in range(20)
        ]
        await asyncio.gather(*patches)
        assert len((await client.get(corev1.ConfigMap, "a", "default")).data) == 20

    @pytest.mark.parametrize(
        ("patch", "refusal", "message"),
        [
            pytest.param(b"{", errors.BadRequest, "error decoding patch", id="no json"),
            pytest.param({"data": 5}, errors.Invalid, "patch: .*data: found number 5", id="wrong type"),
            pytest.param({"metadata": {"name": "b"}}, errors.BadRequest, "does not match", id="rename"),
            pytest.param({"metadata": {"resourceVersion": "1"}}, errors.Conflict, "modified", id="old version"),
            pytest.param({"metadata": {"uid": "x"}}, errors.Conflict, "UID", id="uid"),
        ],
    )
    async def test_refuses(self, client: Client, patch: Any, refusal: type[errors.ApiError], message: str) -> None:
        await client.create(config_map("a"))
        with pytest.raises(refusal, match=message):
            await client.patch(corev1.ConfigMap, "a", "default", patch, "merge")

    async def test_unknown_fields_warn_or_refuse(self, cluster: Any) -> None:
        from navarch.protos.navarch import objects_pb2_grpc

        client: Client = cluster.client
        await client.create(config_map("a"))
        stub = objects_pb2_grpc.ObjectsStub(client.channel)
        request = objects_pb2.PatchRequest(
            resource=objects_pb2.Resource(version="v1", resource="configmaps"),
            namespace="default",
            name="a",
            type=objects_pb2.PatchRequest.MERGE,
            patch=b'{"dat":{"k":"v"}}',
        )
        assert list((await stub.Patch(request)).warnings) == ['unknown field "dat"']
        request.options.field_validation = "Strict"
        with pytest.raises(Exception, match='strict decoding error: unknown field "dat"'):
            await stub.Patch(request)


class TestDelete:
    async def test_removes(self, client: Client) -> None:
        made = await client.create(config_map("a"))
        last = await client.delete(corev1.ConfigMap, "a", "default")
        assert last is not None
        assert last.metadata.uid == made.metadata.uid
        with pytest.raises(errors.NotFound, match='configmaps "a" not found'):
            await client.delete(corev1.ConfigMap, "a", "default")

    async def test_preconditions(self, client: Client) -> None:
        made = await client.create(config_map("a"))
        with pytest.raises(errors.Conflict, match="UID in precondition: x"):
            await client.delete(corev1.ConfigMap, "a", "default", uid="x")
        with pytest.raises(errors.Conflict, match="ResourceVersion in precondition: 1,"):
            await client.delete(corev1.ConfigMap, "a", "default", resource_version="1")
        await client.delete(
            corev1.ConfigMap, "a", "default", uid=made.metadata.uid, resource_version=made.metadata.resource_version
        )

    async def test_waits_for_finalizers(self, client: Client) -> None:
        held = config_map("a")
        held.metadata.finalizers.append("example.org/hold")
        await client.create(held)
        marked = await client.delete(corev1.ConfigMap, "a", "default")
        assert marked is not None
        assert marked.metadata.deletion_timestamp.seconds > 0
        again = await client.delete(corev1.ConfigMap, "a", "default")
        assert again is not None
        assert again.metadata.resource_version == marked.metadata.resource_version
        await client.patch(corev1.ConfigMap, "a", "default", {"metadata": {"finalizers": None}}, "merge")
        with pytest.raises(errors.NotFound):
            await client.get(corev1.ConfigMap, "a", "default")

    @pytest.mark.parametrize(
        ("policy", "finalizer"), [("Orphan", "orphan"), ("Foreground", "foregroundDeletion")], ids=str
    )
    async def test_propagation_policy_is_a_finalizer(self, client: Client, policy: str, finalizer: str) -> None:
        await client.create(deployment("web"))
        marked = await client.delete(appsv1.Deployment, "web", "default", propagation_policy=policy)
        assert marked is not None
        assert list(marked.metadata.finalizers) == [finalizer]
        assert marked.metadata.generation == 2

    async def test_background_removes_at_once(self, client: Client) -> None:
        await client.create(deployment("web"))
        await client.delete(appsv1.Deployment, "web", "default", propagation_policy="Background")
        with pytest.raises(errors.NotFound):
            await client.get(appsv1.Deployment, "web", "default")

    async def test_a_pod_nobody_runs_goes_at_once(self, client: Client) -> None:
        await client.create(pod("web"))
        await client.delete(corev1.Pod, "web", "default")
        with pytest.raises(errors.NotFound):
            await client.get(corev1.Pod, "web", "default")

    async def test_a_running_pod_goes_in_two_steps(self, client: Client) -> None:
        await client.create(pod("web", node="n1"))
        first = await client.delete(corev1.Pod, "web", "default")
        assert first is not None
        assert first.metadata.deletion_grace_period_seconds == 30
        shorter = await client.delete(corev1.Pod, "web", "default", grace_period_seconds=5)
        assert shorter is not None
        assert shorter.metadata.deletion_grace_period_seconds == 5
        begin, sooner = first.metadata.deletion_timestamp.seconds, shorter.metadata.deletion_timestamp.seconds
        assert begin - sooner == 25
        longer = await client.delete(corev1.Pod, "web", "default", grace_period_seconds=60)
        assert longer == shorter
        await client.delete(corev1.Pod, "web", "default", grace_period_seconds=0)
        with pytest.raises(errors.NotFound):
            await client.get(corev1.Pod, "web", "default")

    async def test_collection(self, client: Client) -> None:
        for name in ("a", "b"):
            await client.create(pod(name, app="x"))
        await client.create(pod("c", app="y"))
        gone = await client.delete_collection(corev1.Pod, "default", label_selector="app=x")
        assert [item.metadata.name for item in gone.items] == ["a", "b"]
        assert [item.metadata.name for item in (await client.list(corev1.Pod)).items] == ["c"]


class TestBatch:
    async def test_answers_each_on_its_own_and_keeps_order_within_an_object(self, client: Client) -> None:
        def create(obj: corev1.ConfigMap) -> objects_pb2.Mutation:
            mutation = objects_pb2.Mutation()
            mutation.create.resource.version, mutation.create.resource.resource = "v1", "configmaps"
            mutation.create.namespace = "default"
            mutation.create.object.Pack(obj)
            return mutation

        delete = objects_pb2.Mutation()
        delete.delete.resource.version, delete.delete.resource.resource = "v1", "configmaps"
        delete.delete.namespace, delete.delete.name = "default", "a"
        bad = create(config_map("No"))
        results = await client.batch(
            [create(config_map("a", n="1")), create(config_map("a")), delete, create(config_map("a", n="2")), bad]
        )
        assert [type(result) for result in results] == [
            corev1.ConfigMap,
            errors.AlreadyExists,
            corev1.ConfigMap,
            corev1.ConfigMap,
            errors.Invalid,
        ]
        assert (await client.get(corev1.ConfigMap, "a", "default")).data["n"] == "2"


class TestBinding:
    async def test_binds_once(self, client: Client) -> None:
        made = await client.create(pod("web"))
        with pytest.raises(errors.Conflict, match="Precondition failed: UID"):
            await client.bind("default", "web", "n1", uid="another")
        await client.bind("default", "web", "n1", uid=made.metadata.uid)
        bound = await client.get(corev1.Pod, "web", "default")
        assert bound.spec.node_name == "n1"
        [condition] = [one for one in bound.status.conditions if one.type == "PodScheduled"]
        assert condition.status == "True"
        with pytest.raises(errors.Conflict, match='pod web is already assigned to node "n1"'):
            await client.bind("default", "web", "n2")

    async def test_eviction_deletes(self, client: Client) -> None:
        await client.create(pod("web", node="n1"))
        await client.evict("default", "web", grace_period_seconds=7)
        assert (await client.get(corev1.Pod, "web", "default")).metadata.deletion_grace_period_seconds == 7


class TestNamespaces:
    async def test_default_ones_are_there(self, client: Client) -> None:
        names = {item.metadata.name for item in (await client.list(corev1.Namespace)).items}
        assert names == {"default", "kube-system", "kube-public", "kube-node-lease"}

    async def test_the_default_one_stays(self, client: Client) -> None:
        with pytest.raises(errors.Forbidden, match="this namespace may not be deleted"):
            await client.delete(corev1.Namespace, "default")

    async def test_ends_when_its_contents_are_gone(self, cluster: Any) -> None:
        from navarch.protos.navarch import objects_pb2_grpc

        client: Client = cluster.client
        wanted = corev1.Namespace()
        wanted.metadata.name = "team"
        made = await client.create(wanted)
        assert list(made.spec.finalizers) == ["kubernetes"]
        marked = await client.delete(corev1.Namespace, "team")
        assert marked is not None
        assert marked.status.phase == "Terminating"
        with pytest.raises(errors.Forbidden, match="because it is being terminated"):
            await client.create(config_map("a", "team"))
        del marked.spec.finalizers[:]
        request = objects_pb2.UpdateRequest(
            resource=objects_pb2.Resource(version="v1", resource="namespaces"), name="team", subresource="finalize"
        )
        request.object.Pack(marked)
        await objects_pb2_grpc.ObjectsStub(client.channel).Update(request)
        with pytest.raises(errors.NotFound):
            await client.get(corev1.Namespace, "team")


class TestEvents:
    async def test_both_groups_show_the_same_event(self, client: Client) -> None:
        event = corev1.Event(message="it did", reason="Done", type="Normal", count=3)
        event.metadata.name, event.metadata.namespace = "e1", "default"
        event.involved_object.kind, event.involved_object.namespace = "Pod", "default"
        event.source.component = "me"
        made = await client.create(event)
        seen = await client.get(eventsv1.Event, "e1", "default")
        assert (seen.note, seen.reason, seen.regarding.kind, seen.deprecated_count) == ("it did", "Done", "Pod", 3)
        assert seen.metadata == made.metadata
        seen.series.count = 2
        seen.series.last_observed_time.seconds = 1_700_000_000
        await client.update(seen)
        assert (await client.get(corev1.Event, "e1", "default")).series.count == 2
