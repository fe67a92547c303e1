"""Server-side apply and field ownership, through the door."""

from typing import Any

import pytest

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.protos.k8s.autoscaling import v1_pb2 as autoscalingv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.protos.k8s.storage import v1_pb2 as storagev1
from navarch.services.api import errors
from navarch.services.api.managed_fields import managers, sets
from navarch.services.client import requests
from navarch.services.client.client import Client

MANIFEST = b"""
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: web, image: nginx, ports: [{containerPort: 80}]}
"""
WEB = '.spec.template.spec.containers[name="web"]'


def config_map(name: str = "a", **members: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **members}


def made(name: str = "a", **data: str) -> corev1.ConfigMap:
    return corev1.ConfigMap(metadata=metav1.ObjectMeta(name=name, namespace="default"), data=data)


def owned(obj: Any) -> dict[tuple[str, str, str], set[str]]:
    """(manager, operation, subresource) -> paths."""
    return {
        (entry.manager, entry.operation, entry.subresource): {
            sets.show(path) for path in sets.paths(sets.parse(entry.fields_v1.raw))
        }
        for entry in obj.metadata.managed_fields
    }


async def apply_map(client: Client, manager: str, config: Any, **more: Any) -> corev1.ConfigMap:
    return await client.patch(corev1.ConfigMap, "a", "default", config, "apply", field_manager=manager, **more)


async def apply_web(client: Client, manager: str, config: Any, **more: Any) -> appsv1.Deployment:
    return await client.patch(appsv1.Deployment, "web", "default", config, "apply", field_manager=manager, **more)


class TestTracking:
    """Every write is tracked."""

    async def test_create(self, client: Client) -> None:
        pod = corev1.Pod(metadata=metav1.ObjectMeta(name="p", namespace="default"))
        pod.spec.containers.add(name="web", image="nginx")
        stored = await client.create(pod)
        [(manager, paths)] = owned(stored).items()
        assert manager == ("navarch", "Update", "")
        # What admission adds (the token's volume) and the server sets belongs to nobody.
        assert paths == {
            ".spec.enableServiceLinks",
            ".spec.dnsPolicy",
            ".spec.restartPolicy",
            ".spec.schedulerName",
            ".spec.securityContext",
            ".spec.terminationGracePeriodSeconds",
            '.spec.containers[name="web"]',
            *(
                f'.spec.containers[name="web"].{name}'
                for name in (
                    "image",
                    "imagePullPolicy",
                    "name",
                    "resources",
                    "terminationMessagePath",
                    "terminationMessagePolicy",
                )
            ),
        }
        [entry] = stored.metadata.managed_fields
        assert (entry.api_version, entry.fields_type) == ("v1", "FieldsV1")
        assert entry.time.seconds >= stored.metadata.creation_timestamp.seconds

    async def test_update_takes_what_it_changes(self, client: Client) -> None:
        stored = await apply_map(client, "one", config_map(data={"x": "1", "y": "1"}))
        stored.data["x"] = "2"
        changed = await client.update(stored)
        assert owned(changed) == {("one", "Apply", ""): {".data.y"}, ("navarch", "Update", ""): {".data.x"}}

    async def test_patches_of_each_kind(self, client: Client) -> None:
        await apply_map(client, "one", config_map(data={"x": "1"}))
        await client.patch(corev1.ConfigMap, "a", "default", {"data": {"y": "1"}}, "merge", field_manager="m")
        await client.patch(corev1.ConfigMap, "a", "default", {"data": {"z": "1"}}, field_manager="s")
        add = [{"op": "add", "path": "/data/w", "value": "1"}]
        stored = await client.patch(corev1.ConfigMap, "a", "default", add, "json", field_manager="j")
        assert owned(stored) == {
            ("one", "Apply", ""): {".data.x"},
            ("m", "Update", ""): {".data.y"},
            ("s", "Update", ""): {".data.z"},
            ("j", "Update", ""): {".data.w"},
        }

    async def test_status_has_its_own_entry(self, client: Client) -> None:
        await apply_web(client, "one", MANIFEST)
        stored = await client.get(appsv1.Deployment, "web", "default")
        stored.status.replicas = 2
        stored.spec.replicas = 9
        changed = await client.update_status(stored)
        assert owned(changed)["navarch", "Update", "status"] == {".status.replicas"}
        assert ".spec.replicas" in owned(changed)["one", "Apply", ""]

    async def test_a_write_that_changes_nothing_is_none(self, client: Client) -> None:
        stored = await client.create(made(x="1"))
        again = await client.update(stored)
        assert again.metadata.resource_version == stored.metadata.resource_version
        patched = await client.patch(corev1.ConfigMap, "a", "default", {"data": {"x": "1"}}, field_manager="other")
        assert patched == stored

    async def test_clients_that_do_not_know_them_do_not_lose_them(self, client: Client) -> None:
        stored = await client.create(made(x="1"))
        entries = list(stored.metadata.managed_fields)
        stored.metadata.ClearField("managed_fields")
        stored.metadata.labels["l"] = "1"
        changed = await client.update(stored)
        assert sets.show(("f:data", "f:x")) in owned(changed)["navarch", "Update", ""]
        assert len(changed.metadata.managed_fields) == len(entries)

    async def test_are_thrown_away_on_request(self, client: Client) -> None:
        await client.create(made(x="1"))
        reset: dict[str, Any] = {"metadata": {"managedFields": [{}]}}
        stored = await client.patch(corev1.ConfigMap, "a", "default", reset, "merge")
        assert not stored.metadata.managed_fields
        stored.data["x"] = "2"
        assert not (await client.update(stored)).metadata.managed_fields

    async def test_invalid_ones_are_ignored(self, client: Client) -> None:
        stored = await client.create(made(x="1"))
        bad = {"metadata": {"managedFields": [{"manager": "m", "operation": "Sign", "apiVersion": "v1"}]}}
        changed = await client.patch(corev1.ConfigMap, "a", "default", bad, "merge")
        assert owned(changed) == owned(stored)

    async def test_can_be_rewritten(self, client: Client) -> None:
        stored = await client.create(made(x="1"))
        stored.metadata.managed_fields[0].manager = "renamed"
        changed = await client.update(stored)
        assert owned(changed).keys() == {("renamed", "Update", "")}

    async def test_components_are_known_by_their_user(self, cluster: Any) -> None:
        controllers = cluster.connect("system:kube-controller-manager", "system:masters")
        stored = await controllers.create(made("c", x="1"))
        assert owned(stored).keys() == {("kube-controller-manager", "Update", "")}


class TestApply:
    """The verb."""

    async def test_creates(self, client: Client) -> None:
        stored = await apply_web(client, "one", MANIFEST)
        assert stored.metadata.uid
        assert stored.spec.replicas == 3
        assert owned(stored) == {
            ("one", "Apply", ""): {
                ".metadata.labels.app",
                ".spec.replicas",
                ".spec.selector",
                ".spec.template.metadata.labels.app",
                WEB,
                f"{WEB}.image",
                f"{WEB}.name",
                f'{WEB}.ports[containerPort=80,protocol="TCP"]',
                f'{WEB}.ports[containerPort=80,protocol="TCP"].containerPort',
            }
        }

    async def test_twice_is_once(self, client: Client) -> None:
        assert await apply_web(client, "one", MANIFEST) == await apply_web(client, "one", MANIFEST)

    async def test_twice_is_once_however_it_is_spelled(self, client: Client) -> None:
        manifest = MANIFEST.replace(b"image: nginx", b"image: nginx, resources: {limits: {cpu: 1000m}}")
        first = await apply_web(client, "one", manifest)
        assert first.spec.template.spec.containers[0].resources.limits["cpu"].string == "1"
        second = await apply_web(client, "one", manifest)
        assert second.metadata.resource_version == first.metadata.resource_version

    async def test_a_node_may_not_create_what_is_not_its_own(self, cluster: Any) -> None:
        node = cluster.connect("system:node:n1", "system:nodes")
        with pytest.raises(errors.Forbidden):
            await apply_map(node, "one", config_map())

    async def test_dry_run_stores_nothing(self, client: Client) -> None:
        shown = await apply_map(client, "one", config_map(data={"x": "1"}), dry_run=True)
        assert owned(shown) == {("one", "Apply", ""): {".data.x"}}
        with pytest.raises(errors.NotFound):
            await client.get(corev1.ConfigMap, "a", "default")

    async def test_removes_what_is_left_out(self, client: Client) -> None:
        await apply_map(client, "one", config_map(data={"x": "1", "y": "1"}))
        stored = await apply_map(client, "one", config_map(data={"y": "1"}))
        assert dict(stored.data) == {"y": "1"}

    async def test_conflict_and_force(self, client: Client) -> None:
        await apply_map(client, "one", config_map(data={"x": "1"}))
        with pytest.raises(errors.Conflict) as refusal:
            await apply_map(client, "two", config_map(data={"x": "2"}))
        assert refusal.value.message == 'Apply failed with 1 conflict: conflict with "one": .data.x'
        assert [(cause.reason, cause.field) for cause in refusal.value.causes] == [("FieldManagerConflict", ".data.x")]
        stored = await apply_map(client, "two", config_map(data={"x": "2"}), force=True)
        assert owned(stored) == {("two", "Apply", ""): {".data.x"}}

    async def test_what_was_there_before_is_owned_by_a_made_up_manager(self, client: Client) -> None:
        await client.create(made(x="1"))
        await client.patch(corev1.ConfigMap, "a", "default", {"metadata": {"managedFields": [{}]}}, "merge")
        stored = await apply_map(client, "one", config_map(data={"y": "1"}))
        assert owned(stored) == {
            ("one", "Apply", ""): {".data.y"},
            (managers.BEFORE_FIRST_APPLY, "Update", ""): {".data", ".data.x"},
        }

    async def test_status_does_not_reach_the_main_resource(self, client: Client) -> None:
        stored = await apply_web(client, "one", MANIFEST + b"status: {replicas: 7}")
        assert stored.status.replicas == 0
        assert not any(path.startswith(".status") for path in owned(stored)["one", "Apply", ""])

    async def test_status_subresource(self, client: Client) -> None:
        await apply_web(client, "one", MANIFEST)
        status = {"apiVersion": "apps/v1", "kind": "Deployment", "status": {"replicas": 2}, "spec": {"replicas": 9}}
        stored = await apply_web(client, "ctl", status, subresource="status")
        assert (stored.spec.replicas, stored.status.replicas) == (3, 2)
        assert owned(stored)["ctl", "Apply", "status"] == {".status.replicas"}

    async def test_subresources_create_nothing(self, client: Client) -> None:
        with pytest.raises(errors.NotFound):
            await apply_web(client, "ctl", MANIFEST, subresource="status")

    async def test_versions_that_are_named_have_to_match(self, client: Client) -> None:
        stored = await apply_map(client, "one", config_map(data={"x": "1"}))
        stale = config_map(data={"x": "2"})
        stale["metadata"]["resourceVersion"] = "1"
        with pytest.raises(errors.Conflict, match="the object has been modified"):
            await apply_map(client, "one", stale)
        stale["metadata"]["resourceVersion"] = stored.metadata.resource_version
        assert dict((await apply_map(client, "one", stale)).data) == {"x": "2"}

    @pytest.mark.parametrize("member", ["uid", "resourceVersion"])
    async def test_does_not_create_what_is_said_to_exist(self, client: Client, member: str) -> None:
        config = config_map(data={"x": "1"})
        config["metadata"][member] = "7"
        with pytest.raises(errors.Conflict):
            await apply_map(client, "one", config)

    async def test_of_a_cluster_scoped_kind(self, client: Client) -> None:
        config = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": "fast"},
            "provisioner": "example.org/disk",
        }
        stored = await client.patch(storagev1.StorageClass, "fast", "", config, "apply", field_manager="one")
        assert owned(stored) == {("one", "Apply", ""): {".provisioner"}}

    async def test_a_service_keeps_its_address(self, client: Client) -> None:
        config: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "s"},
            "spec": {
                "ports": [{"port": 80, "name": "t"}, {"port": 80, "protocol": "UDP", "name": "u"}],
                "selector": {"q": "1"},
            },
        }
        first = await client.patch(corev1.Service, "s", "default", config, "apply", field_manager="one")
        config["spec"]["ports"].pop()
        second = await client.patch(corev1.Service, "s", "default", config, "apply", field_manager="one")
        assert second.spec.cluster_ip == first.spec.cluster_ip != ""
        assert [(port.port, port.protocol) for port in second.spec.ports] == [(80, "TCP")]

    @pytest.mark.parametrize(
        ("config", "message"),
        [
            pytest.param(b"a: [", "error decoding YAML", id="no YAML"),
            pytest.param(b"[]", "error decoding YAML: an object was expected", id="no object"),
            pytest.param(b"{}", "Object 'Kind' is missing", id="no kind"),
            pytest.param({"kind": "ConfigMap"}, "Object 'ApiVersion' is missing", id="no version"),
            pytest.param({"apiVersion": "v2", "kind": "ConfigMap"}, "incorrect version specified", id="wrong version"),
            pytest.param(config_map("b"), "does not match the name on the URL", id="wrong name"),
            pytest.param(config_map(datta={}), ".datta: field not declared in schema", id="unknown field"),
            pytest.param(config_map(data=[]), ".data: expected map, got list", id="wrong type"),
            pytest.param(
                {**config_map(), "metadata": {"name": "a", "managedFields": []}},
                "metadata.managedFields must be nil",
                id="managedFields",
            ),
            pytest.param({**config_map(), "metadata": []}, "metadata has to be an object", id="no metadata"),
        ],
    )
    async def test_refuses(self, client: Client, config: Any, message: str) -> None:
        for _ in range(2):
            with pytest.raises(errors.BadRequest, match=message):
                await apply_map(client, "one", config)
            await client.patch(corev1.ConfigMap, "a", "default", config_map(), "apply", field_manager="x")

    @pytest.mark.parametrize(
        ("manager", "message"),
        [
            ("", "fieldManager: Required value: is required for apply patch"),
            ("x" * 129, "fieldManager: Too long"),
            ("a\nb", "should only contain printable characters"),
        ],
    )
    async def test_needs_a_manager(self, client: Client, manager: str, message: str) -> None:
        with pytest.raises(errors.Invalid, match=message):
            await apply_map(client, manager, config_map())

    async def test_force_is_of_applies_alone(self, client: Client) -> None:
        await client.create(made())
        with pytest.raises(errors.Invalid, match="may not be specified for non-apply patch"):
            await client.patch(corev1.ConfigMap, "a", "default", {}, "merge", force=True)


class TestScale:
    """Replicas, owned through the scale subresource."""

    async def test_update_takes_replicas(self, client: Client) -> None:
        await apply_web(client, "one", MANIFEST)
        stored = await self.scaled(client, 5)
        assert stored.spec.replicas == 5
        assert owned(stored)["navarch", "Update", "scale"] == {".spec.replicas"}
        assert ".spec.replicas" not in owned(stored)["one", "Apply", ""]

    async def test_then_the_applier_is_in_conflict(self, client: Client) -> None:
        await apply_web(client, "one", MANIFEST)
        await self.scaled(client, 5)
        with pytest.raises(errors.Conflict, match='conflict with "navarch" with subresource "scale" using apps/v1'):
            await apply_web(client, "one", MANIFEST)

    async def scaled(self, client: Client, replicas: int) -> appsv1.Deployment:
        scale = autoscalingv1.Scale(metadata=metav1.ObjectMeta(name="web", namespace="default"))
        scale.spec.replicas = replicas
        await client.update_scale(appsv1.Deployment, scale)
        return await client.get(appsv1.Deployment, "web", "default")

    async def test_apply(self, client: Client) -> None:
        await apply_web(client, "one", MANIFEST)
        config = {"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 4}}
        with pytest.raises(errors.Conflict, match='conflict with "one": .spec.replicas'):
            await self.applied(client, config)
        await self.applied(client, config, force=True)
        stored = await client.get(appsv1.Deployment, "web", "default")
        assert stored.spec.replicas == 4
        assert owned(stored)["ctl", "Apply", "scale"] == {".spec.replicas"}

    async def applied(self, client: Client, config: Any, *, force: bool = False) -> None:
        request = requests.patch_request(
            appsv1.Deployment, "web", "default", config, "apply", subresource="scale", field_manager="ctl", force=force
        )
        await client._write(client._stub.Patch, request)
