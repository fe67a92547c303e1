"""Server-side apply and field managers through the Kubernetes door."""

from typing import Any

import pytest

MAPS = "/api/v1/namespaces/default/configmaps"
APPLY = "application/apply-patch+yaml"
MANIFEST = b"""
apiVersion: v1
kind: ConfigMap
metadata:
  name: a
data:
  x: "1"
"""


async def apply(rest: Any, query: str, body: Any = MANIFEST) -> Any:
    return await rest.ask("PATCH", f"{MAPS}/a?{query}", body, Content_Type=APPLY)


def managers_of(obj: Any) -> list[tuple[str, str, dict[str, Any]]]:
    return [(one["manager"], one["operation"], one["fieldsV1"]) for one in obj["metadata"]["managedFields"]]


async def test_creates_and_then_changes(rest: Any) -> None:
    made = await apply(rest, "fieldManager=one")
    assert made.status == 201
    assert managers_of(made.json) == [("one", "Apply", {"f:data": {"f:x": {}}})]
    again = await apply(rest, "fieldManager=one")
    assert (again.status, again.json) == (200, made.json)


async def test_takes_json_too(rest: Any) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}}
    assert (await apply(rest, "fieldManager=one", body)).status == 201


async def test_a_conflict_says_with_whom_and_where(rest: Any) -> None:
    await apply(rest, "fieldManager=one")
    refused = await apply(rest, "fieldManager=two", MANIFEST.replace(b'"1"', b'"2"'))
    assert (refused.status, refused.reason) == (409, "Conflict")
    assert refused.json["details"] == {
        "causes": [{"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.x"}]
    }
    forced = await apply(rest, "fieldManager=two&force=true", MANIFEST.replace(b'"1"', b'"2"'))
    assert forced.json["data"] == {"x": "2"}
    assert managers_of(forced.json) == [("two", "Apply", {"f:data": {"f:x": {}}})]


async def test_dry_run(rest: Any) -> None:
    assert (await apply(rest, "fieldManager=one&dryRun=All")).status == 201
    assert (await rest.get(f"{MAPS}/a")).status == 404


@pytest.mark.parametrize(
    ("query", "body", "status", "message"),
    [
        pytest.param("", MANIFEST, 422, "is required for apply patch", id="no manager"),
        pytest.param("fieldManager=" + "x" * 129, MANIFEST, 422, "may not be more than 128", id="long manager"),
        pytest.param("fieldManager=m&force=maybe", MANIFEST, 400, "force", id="force is no boolean"),
        pytest.param("fieldManager=m", b"a: b: c", 400, "error decoding YAML", id="no YAML"),
        pytest.param("fieldManager=m", b"", 400, "error decoding YAML", id="nothing"),
        pytest.param("fieldManager=m", MANIFEST + b"nope: 1", 400, ".nope: field not declared in schema", id="unknown"),
        pytest.param("fieldManager=m", MANIFEST.replace(b": a", b": b"), 400, "does not match the name", id="name"),
        pytest.param("fieldManager=m", b"[" * 100000, 400, "error decoding YAML", id="a bomb"),
        pytest.param("fieldManager=m", b'{"a":' * 100000, 400, "error decoding YAML", id="a bomb of JSON"),
    ],
)
async def test_refuses(rest: Any, query: str, body: bytes, status: int, message: str) -> None:
    refused = await apply(rest, query, body)
    assert refused.status == status, refused.body
    assert message in refused.json["message"]


async def test_force_is_of_applies_alone(rest: Any) -> None:
    await rest.make(MAPS, "a")
    media = "application/merge-patch+json"
    refused = await rest.ask("PATCH", f"{MAPS}/a?force=true", {}, Content_Type=media)
    assert (refused.status, refused.reason) == (422, "Invalid")


async def test_the_user_agent_names_the_manager(rest: Any) -> None:
    body = {"metadata": {"name": "a"}, "data": {"x": "1"}}
    made = await rest.ask("POST", MAPS, body, User_Agent="tool/v1.2 (linux)")
    assert managers_of(made.json) == [("tool", "Update", {"f:data": {".": {}, "f:x": {}}})]
    changed = {**made.json, "data": {"x": "2"}}
    answer = await rest.ask("PUT", f"{MAPS}/a?fieldManager=me", changed, User_Agent="tool/v1.2 (linux)")
    assert [name for name, _, _ in managers_of(answer.json)] == ["me", "tool"]


async def test_kubernetes_own_story(rest: Any) -> None:
    """The one in its documentation: replicas go from the user to an autoscaler."""
    deployments = "/apis/apps/v1/namespaces/default/deployments/nginx"
    config: dict[str, Any] = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "nginx", "labels": {"app": "nginx"}},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": {"app": "nginx"}},
            "template": {
                "metadata": {"labels": {"app": "nginx"}},
                "spec": {"containers": [{"name": "nginx", "image": "nginx:1.14.2"}]},
            },
        },
    }

    async def ask(manager: str, body: Any, path: str = deployments) -> Any:
        return await rest.ask("PATCH", f"{path}?fieldManager={manager}", body, Content_Type=APPLY)

    await ask("kubectl", config)
    handover = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 3}}
    assert (await ask("handover", handover)).status == 200
    del config["spec"]["replicas"]
    assert (await ask("kubectl", config)).json["spec"]["replicas"] == 3
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 5}}
    refused = await ask("autoscaler", scale, f"{deployments}/scale")
    assert refused.json["message"] == 'Apply failed with 1 conflict: conflict with "handover": .spec.replicas'
    merge = "application/merge-patch+json"
    scaled = await rest.ask("PATCH", f"{deployments}/scale", {"spec": {"replicas": 5}}, Content_Type=merge)
    assert scaled.json["spec"]["replicas"] == 5
    stored = await ask("kubectl", config)
    assert stored.json["spec"]["replicas"] == 5
    assert "handover" not in [name for name, _, _ in managers_of(stored.json)]
