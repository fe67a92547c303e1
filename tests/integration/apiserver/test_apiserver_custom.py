"""Custom resources through the native door: definitions come, change and go, and their objects with them."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from navarch.protos.k8s.apiextensions import v1_pb2 as apiextensionsv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import codec
from navarch.services.api.custom import objects
from navarch.services.api.custom.versions import custom_kinds, is_established
from navarch.services.api.equality import same
from navarch.services.api.errors import (
    ApiError,
    BadRequest,
    Conflict,
    Invalid,
    MethodNotSupported,
    NotFound,
    UnsupportedMediaType,
)
from navarch.services.api.kinds import Kind
from navarch.services.client.client import Client

Definition = apiextensionsv1.CustomResourceDefinition
SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["cronSpec"],
            "properties": {
                "cronSpec": {"type": "string", "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$"},
                "replicas": {"type": "integer", "minimum": 0, "maximum": 10, "default": 1},
                "image": {"type": "string"},
                "ports": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {"name": {"type": "string"}, "port": {"type": "integer"}},
                    },
                },
            },
            "x-kubernetes-validations": [
                {"rule": "!has(self.image) || self.image != 'bad'", "message": "this image is bad"},
                {"rule": "self.replicas >= oldSelf.replicas", "message": "replicas may only grow"},
            ],
        },
        "status": {
            "type": "object",
            "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}},
        },
    },
}


def definition(group: str = "stable.example.com", **changes: Any) -> Any:
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": SCHEMA},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "selectableFields": [{"jsonPath": ".spec.image"}],
    }
    spec = {
        "group": group,
        "scope": "Namespaced",
        "names": {"plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"]},
        "versions": [version],
        **changes,
    }
    return codec.from_json(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"crontabs.{group}"},
            "spec": spec,
        }
    )


async def until(client: Client, name: str, condition: str, status: str = "True") -> Any:
    """The definition, once a condition has a status."""
    async with asyncio.timeout(20), aclosing(client.watch(Definition)) as events:
        async for event in events:
            found = {one.type: one.status for one in event.object.status.conditions}
            if event.object.metadata.name == name and found.get(condition) == status:
                return event.object
    raise AssertionError("the watch ended")


async def until_gone(client: Client, cls: Any, name: str, namespace: str = "") -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await client.get(cls, name, namespace)
            except NotFound:
                return
            await asyncio.sleep(0.02)


async def establish(client: Client, crd: Any) -> Kind:
    await client.create(crd)
    crd = await until(client, crd.metadata.name, "Established")
    assert is_established(crd)
    return custom_kinds(crd)[0]


@pytest.fixture
async def kind(client: Client) -> Kind:
    return await establish(client, definition())


def cron_tab(kind: Kind, name: str = "web", **spec: Any) -> Any:
    value = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"cronSpec": "* * * * */5", **spec},
    }
    return codec.from_json(value, kind.message)


async def test_an_established_definition_says_so(client: Client) -> None:
    await client.create(definition())
    crd = await until(client, "crontabs.stable.example.com", "Established")
    assert {one.type: (one.status, one.reason) for one in crd.status.conditions} == {
        "NamesAccepted": ("True", "NoConflicts"),
        "Established": ("True", "InitialNamesAccepted"),
    }
    names = crd.status.accepted_names
    assert (names.plural, names.singular, names.kind, names.list_kind) == (
        "crontabs", "crontab", "CronTab", "CronTabList",
    )  # fmt: skip
    assert list(crd.status.stored_versions) == ["v1"]


async def test_names_of_another_definition_are_refused(client: Client, kind: Kind) -> None:
    other = definition()
    other.metadata.name = "schedules.stable.example.com"
    other.spec.names.plural, other.spec.names.kind = "schedules", "Schedule"
    await client.create(other)
    refused = await until(client, other.metadata.name, "NamesAccepted", "False")
    by_type = {one.type: one for one in refused.status.conditions}
    assert by_type["NamesAccepted"].reason == "ShortNamesConflict"
    assert by_type["NamesAccepted"].message == '"ct" is already in use'
    assert by_type["Established"].status == "False"
    await client.delete(Definition, "crontabs.stable.example.com")
    # The names are free when the definition that has them is gone.
    await until(client, other.metadata.name, "Established")


async def test_objects_are_created_read_changed_and_deleted(client: Client, kind: Kind) -> None:
    created = await client.create(cron_tab(kind, unknown=1), kind=kind)
    assert created.metadata.generation == 1
    assert objects.content_of(created) == {"spec": {"cronSpec": "* * * * */5", "replicas": 1}}
    read = await client.get(kind.message, "web", "default")
    assert same(read, created)
    changed = objects.content_of(read)
    changed["spec"]["replicas"] = 3
    objects.set_content(read, changed)
    updated = await client.update(read, kind=kind)
    assert updated.metadata.generation == 2
    patched = await client.patch(kind.message, "web", "default", {"spec": {"image": "nginx"}}, "merge")
    assert objects.content_of(patched)["spec"]["image"] == "nginx"
    listed = await client.list(kind.message, "default", field_selector="spec.image=nginx")
    assert [one.metadata.name for one in listed.items] == ["web"]
    assert not (await client.list(kind.message, field_selector="spec.image!=nginx")).items
    await client.delete(kind.message, "web", "default")
    with pytest.raises(NotFound):
        await client.get(kind.message, "web", "default")


@pytest.mark.parametrize(
    ("spec", "cause"),
    [
        ({"cronSpec": "x"}, r"spec.cronSpec in body should match"),
        ({"replicas": 11}, "spec.replicas in body should be less than or equal to 10"),
        ({"replicas": "three"}, 'spec.replicas in body must be of type integer: "string"'),
        ({"image": "bad"}, "this image is bad"),
        ({"ports": [{"name": "a"}, {"name": "a"}]}, 'Duplicate value: {"name":"a"}'),
        ({"ports": [{"port": 1}]}, "spec.ports[0].name: Required value"),
    ],
)
async def test_objects_that_break_the_schema_are_invalid(
    client: Client, kind: Kind, spec: dict[str, Any], cause: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        await client.create(cron_tab(kind, **spec), kind=kind)
    assert cause in refusal.value.message
    assert refusal.value.message.startswith('CronTab.stable.example.com "web" is invalid: ')


async def test_transition_rules_compare_with_what_is_stored(client: Client, kind: Kind) -> None:
    await client.create(cron_tab(kind, replicas=3), kind=kind)
    with pytest.raises(Invalid, match="replicas may only grow"):
        await client.patch(kind.message, "web", "default", {"spec": {"replicas": 2}}, "merge")
    await client.patch(kind.message, "web", "default", {"spec": {"replicas": 4}}, "merge")


async def test_status_and_the_rest_are_kept_apart(client: Client, kind: Kind) -> None:
    created = await client.create(cron_tab(kind), kind=kind)
    objects.set_content(created, {"spec": {"cronSpec": "bad"}, "status": {"replicas": 7}})
    with_status = await client.update(created, subresource="status", kind=kind)
    assert objects.content_of(with_status) == {
        "spec": {"cronSpec": "* * * * */5", "replicas": 1}, "status": {"replicas": 7},
    }  # fmt: skip
    assert with_status.metadata.generation == 1
    content = objects.content_of(with_status)
    content["status"] = {"replicas": 0}
    objects.set_content(with_status, content)
    kept = await client.update(with_status, kind=kind)
    assert objects.content_of(kept)["status"] == {"replicas": 7}


async def test_scale_is_read_and_set_by_paths(client: Client, kind: Kind) -> None:
    await client.create(cron_tab(kind, replicas=2), kind=kind)
    status = {"status": {"replicas": 1, "selector": "app=web"}}
    await client.patch(kind.message, "web", "default", status, "merge", subresource="status")
    scale = await client.get_scale(kind.message, "web", "default")
    assert (scale.spec.replicas, scale.status.replicas, scale.status.selector) == (2, 1, "app=web")
    scale.spec.replicas = 5
    scaled = await client.update_scale(kind.message, scale)
    assert scaled.spec.replicas == 5
    read = await client.get(kind.message, "web", "default")
    assert objects.content_of(read)["spec"]["replicas"] == 5


async def test_updates_need_a_version_and_strategic_patches_are_not_for_them(client: Client, kind: Kind) -> None:
    created = await client.create(cron_tab(kind), kind=kind)
    stale = type(created)()
    stale.CopyFrom(created)
    stale.metadata.ClearField("resource_version")
    with pytest.raises(Invalid, match="must be specified for an update"):
        await client.update(stale, kind=kind)
    stale.metadata.resource_version = "1"
    with pytest.raises(Conflict):
        await client.update(stale, kind=kind)
    with pytest.raises(UnsupportedMediaType):
        await client.patch(kind.message, "web", "default", {"spec": {}}, "strategic")
    created.content = b"[1]"
    with pytest.raises(BadRequest):
        await client.update(created, kind=kind)


async def test_objects_are_applied_on_the_server(client: Client, kind: Kind) -> None:
    def config(**spec: Any) -> dict[str, Any]:
        return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": "web"}, "spec": spec}

    first = config(cronSpec="* * * * */5", ports=[{"name": "a", "port": 1}])
    await client.patch(kind.message, "web", "default", first, "apply", field_manager="one")
    second = config(ports=[{"name": "b", "port": 2}])
    await client.patch(kind.message, "web", "default", second, "apply", field_manager="two")
    merged = objects.content_of(await client.get(kind.message, "web", "default"))
    assert [port["name"] for port in merged["spec"]["ports"]] == ["a", "b"]
    stolen = config(ports=[{"name": "a", "port": 9}])
    with pytest.raises(Conflict, match="one"):
        await client.patch(kind.message, "web", "default", stolen, "apply", field_manager="two")


async def test_watchers_see_changes_and_end_with_the_definition(client: Client, kind: Kind) -> None:
    await client.create(cron_tab(kind), kind=kind)
    async with asyncio.timeout(30), aclosing(client.watch(kind.message)) as events:
        seen = [((event := await anext(events)).type, event.object.metadata.name)]
        asyncio.get_running_loop().create_task(client.delete(Definition, "crontabs.stable.example.com"))
        seen += [(event.type, event.object.metadata.name) async for event in events if event.type != "BOOKMARK"]
    assert seen == [("ADDED", "web"), ("DELETED", "web")]
    await until_gone(client, Definition, "crontabs.stable.example.com")
    with pytest.raises(NotFound, match="could not find the requested resource"):
        await client.list(kind.message)


async def test_a_definition_waits_for_its_objects(client: Client, kind: Kind) -> None:
    held = cron_tab(kind)
    held.metadata.finalizers.append("example.com/hold")
    await client.create(held, kind=kind)
    await client.delete(Definition, "crontabs.stable.example.com")
    await until(client, "crontabs.stable.example.com", "Terminating")
    async with asyncio.timeout(20):
        while not (await client.get(kind.message, "web", "default")).metadata.HasField("deletion_timestamp"):
            await asyncio.sleep(0.02)
    with pytest.raises(MethodNotSupported):
        await client.create(cron_tab(kind, "late"), kind=kind)
    await client.patch(kind.message, "web", "default", {"metadata": {"finalizers": None}}, "merge")
    await until_gone(client, Definition, "crontabs.stable.example.com")


async def test_versions_share_their_objects(client: Client) -> None:
    crd = definition()
    old = type(crd.spec.versions[0])()
    old.CopyFrom(crd.spec.versions[0])
    old.name, old.storage = "v1beta1", False
    crd.spec.versions.append(old)
    v1 = await establish(client, crd)
    v1beta1 = custom_kinds(await client.get(Definition, crd.metadata.name))[1]
    assert (v1.version, v1beta1.version) == ("v1", "v1beta1")
    await client.create(cron_tab(v1beta1), kind=v1beta1)
    read = await client.get(v1.message, "web", "default")
    assert (read.api_version, read.metadata.name) == ("stable.example.com/v1", "web")
    # The other version becomes the stored one; what is stored in the old one stays readable.
    changed = await client.get(Definition, crd.metadata.name)
    for version in changed.spec.versions:
        version.storage = version.name == "v1beta1"
    changed = await client.update(changed)
    assert list(changed.status.stored_versions) == ["v1", "v1beta1"]
    assert (await client.get(v1.message, "web", "default")).api_version == "stable.example.com/v1"
    patched = await client.patch(v1.message, "web", "default", {"spec": {"image": "x"}}, "merge")
    assert objects.content_of(patched)["spec"]["image"] == "x"


async def test_another_server_serves_the_kind_too(cluster: Any, client: Client, kind: Kind) -> None:
    await client.create(cron_tab(kind), kind=kind)
    other = await cluster.another_server()
    admin = Client.connect(f"127.0.0.1:{other.port}", cluster.credentials("admin", "system:masters"))
    cluster.stack.push_async_callback(admin.close)
    assert (await admin.get(kind.message, "web", "default")).metadata.name == "web"
    late = await establish(client, definition("late.example.com"))
    async with asyncio.timeout(10):
        while True:
            try:
                await admin.create(cron_tab(late), kind=late)
                break
            except NotFound:
                await asyncio.sleep(0.02)


async def test_a_custom_kind_named_like_a_built_in_one_is_its_own(client: Client) -> None:
    crd = definition("clash.example.com")
    crd.spec.names.plural, crd.spec.names.kind = "services", "Service"
    crd.spec.names.ClearField("short_names")
    crd.metadata.name = "services.clash.example.com"
    kind = await establish(client, crd)
    await client.create(cron_tab(kind), kind=kind)
    assert [one.metadata.name for one in (await client.list(kind.message)).items] == ["web"]
    with pytest.raises(ApiError):
        await client.get(corev1.Service, "web", "default")
