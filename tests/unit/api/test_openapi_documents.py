"""Documents of versions 2 and 3: complete, and true to each other."""

import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from navarch.protos.k8s.apiextensions import v1_pb2 as apiextensionsv1
from navarch.protos.openapi import v2_pb2
from navarch.services.api import codec
from navarch.services.api.custom.versions import custom_kinds
from navarch.services.api.kinds import KINDS, Kind
from navarch.services.api.openapi import gnostic, names, v2, v3

GROUP_VERSIONS = sorted({(kind.group, kind.version) for kind in KINDS})
METHODS = {"get", "put", "post", "delete", "patch"}


def of(group: str, version: str) -> list[Kind]:
    return [kind for kind in KINDS if (kind.group, kind.version) == (group, version)]


def operations(document: Any) -> Iterator[tuple[str, str, Any, list[Any]]]:
    """(path, method, operation, its parameters with those of the path)."""
    for path, item in document["paths"].items():
        for method in item.keys() & METHODS:
            operation = item[method]
            yield path, method, operation, operation["parameters"] + item.get("parameters", [])


@pytest.fixture(scope="module")
def swagger() -> Any:
    return v2.document(list(KINDS), "Kubernetes", "v1.36.2")


@pytest.mark.parametrize(("group", "version"), GROUP_VERSIONS, ids="/".join)
def test_every_reference_leads_somewhere(group: str, version: str) -> None:
    document = v3.document(of(group, version), "Kubernetes", "v1.36.2")
    wanted = set(re.findall(r'"#/components/schemas/([^"]+)"', orjson.dumps(document).decode()))
    assert wanted <= document["components"]["schemas"].keys()


@pytest.mark.parametrize(("group", "version"), GROUP_VERSIONS, ids="/".join)
def test_every_kind_and_its_list_has_a_schema_that_names_it(group: str, version: str) -> None:
    kinds = of(group, version)
    found = v3.components(kinds)
    for kind in kinds:
        marks = found[names.of_kind(kind)]["x-kubernetes-group-version-kind"]
        assert {"group": group, "version": version, "kind": kind.kind} in marks
        assert ("list" not in kind.verbs) or names.of_list(kind) in found


def test_references_of_version_2_lead_somewhere(swagger: Any) -> None:
    wanted = set(re.findall(r'"#/definitions/([^"]+)"', orjson.dumps(swagger).decode()))
    assert wanted <= swagger["definitions"].keys()
    assert "#/components" not in orjson.dumps(swagger).decode()


def test_operations_have_names_of_their_own(swagger: Any) -> None:
    ids = [operation["operationId"] for _, _, operation, _ in operations(swagger)]
    assert len(ids) == len(set(ids))


def test_what_a_path_leaves_open_is_a_parameter(swagger: Any) -> None:
    for path, method, _, parameters in operations(swagger):
        open_parts = set(re.findall(r"{(\w+)}", path))
        assert open_parts == {one["name"] for one in parameters if one["in"] == "path"}, f"{method} {path}"


@pytest.mark.parametrize(
    ("path", "method", "id", "action"),
    [
        ("/api/v1/namespaces/{namespace}/pods", "get", "listCoreV1NamespacedPod", "list"),
        ("/api/v1/pods", "get", "listCoreV1PodForAllNamespaces", "list"),
        ("/api/v1/namespaces/{namespace}/pods/{name}", "put", "replaceCoreV1NamespacedPod", "put"),
        ("/api/v1/namespaces/{namespace}/pods/{name}/exec", "post", "connectCoreV1PostNamespacedPodExec", "connect"),
        (
            "/api/v1/nodes/{name}/proxy/{path}",
            "get",
            "connectCoreV1GetNodeProxyWithPath",
            "connect",
        ),
        ("/api/v1/namespaces/{namespace}/pods/{name}/log", "get", "readCoreV1NamespacedPodLog", "get"),
        ("/api/v1/namespaces/{name}/finalize", "put", "replaceCoreV1NamespaceFinalize", "put"),
        (
            "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale",
            "patch",
            "patchAppsV1NamespacedDeploymentScale",
            "patch",
        ),
        ("/apis/rbac.authorization.k8s.io/v1/clusterroles", "post", "createRbacAuthorizationV1ClusterRole", "post"),
        (
            "/apis/storage.k8s.io/v1/storageclasses",
            "delete",
            "deleteStorageV1CollectionStorageClass",
            "deletecollection",
        ),
        ("/api/v1/watch/namespaces/{namespace}/pods/{name}", "get", "watchCoreV1NamespacedPod", "watch"),
    ],
)
def test_operations_are_named_as_generated_clients_name_them(
    swagger: Any, path: str, method: str, id: str, action: str
) -> None:
    operation = swagger["paths"][path][method]
    assert operation["operationId"] == id
    assert operation["x-kubernetes-action"] == action


def test_patches_take_field_validation_so_that_clients_leave_it_to_the_server() -> None:
    document = v3.document(of("apps", "v1"), "Kubernetes", "v1.36.2")
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert {"dryRun", "fieldManager", "fieldValidation", "force"} <= {one["name"] for one in patch["parameters"]}
    assert "application/strategic-merge-patch+json" in patch["requestBody"]["content"]
    assert patch["x-kubernetes-group-version-kind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}


def test_the_options_of_a_connection_are_its_query(swagger: Any) -> None:
    exec_ = swagger["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/exec"]["get"]
    types = {one["name"]: one["type"] for one in exec_["parameters"]}
    assert types == {
        "command": "string",
        "container": "string",
        "stderr": "boolean",
        "stdin": "boolean",
        "stdout": "boolean",
        "tty": "boolean",
    }


@pytest.mark.parametrize(
    ("three", "two"),
    [
        (
            {"allOf": [{"$ref": "#/components/schemas/a"}], "default": {}, "description": "d"},
            {"$ref": "#/definitions/a", "description": "d"},
        ),
        (
            {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
            {"type": "string", "format": "int-or-string"},
        ),
        ({"oneOf": [{"type": "string"}, {"type": "number"}]}, {"type": "string"}),
        (
            {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
            {"x-kubernetes-int-or-string": True, "type": "string", "format": "int-or-string"},
        ),
        ({"type": "string", "nullable": True, "description": "d"}, {"description": "d"}),
        (
            {"type": "object", "properties": {"a": {"items": {"$ref": "#/components/schemas/a"}, "type": "array"}}},
            {"type": "object", "properties": {"a": {"items": {"$ref": "#/definitions/a"}, "type": "array"}}},
        ),
        ({"type": "object", "additionalProperties": True}, {"type": "object", "additionalProperties": True}),
        # Members that are called like words of the schema language are members all the same.
        ({"properties": {"default": {"type": "string"}}}, {"properties": {"default": {"type": "string"}}}),
    ],
)
def test_what_version_2_cannot_say_is_left_out(three: Any, two: Any) -> None:
    assert v2.schema(three) == two


def test_the_protobuf_form_says_the_same(swagger: Any) -> None:
    document = v2_pb2.Document.FromString(gnostic.encode(swagger))
    definitions = {one.name: one.value for one in document.definitions.additional_properties}
    assert definitions.keys() == swagger["definitions"].keys()
    spec = {
        one.name: one.value for one in definitions["io.k8s.api.core.v1.ServiceSpec"].properties.additional_properties
    }
    assert spec["ports"].items.schema[0].ref == "#/definitions/io.k8s.api.core.v1.ServicePort"
    marks = {one.name: orjson.loads(one.value.yaml) for one in spec["ports"].vendor_extension}
    assert marks["x-kubernetes-list-map-keys"] == ["port", "protocol"]
    paths = {one.name: one.value for one in document.paths.path}
    patch = paths["/api/v1/namespaces/{namespace}/pods/{name}"].patch
    queries = [one.parameter.non_body_parameter.query_parameter_sub_schema.name for one in patch.parameters]
    assert "fieldValidation" in queries


def a_crd(schema: Any) -> Any:
    version = {"name": "v1", "served": True, "storage": True, "schema": schema, "subresources": {"status": {}}}
    crd = codec.from_json(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "crontabs.stable.example.com"},
            "spec": {
                "group": "stable.example.com",
                "names": {"plural": "crontabs", "kind": "CronTab"},
                "scope": "Namespaced",
                "versions": [version],
            },
        },
        apiextensionsv1.CustomResourceDefinition,
    )
    return custom_kinds(crd)


def test_a_custom_resource_is_described_by_its_definition() -> None:
    schema = {
        "type": "object",
        "description": "Times.",
        "properties": {"spec": {"type": "object", "description": "When."}},
    }
    kinds = a_crd({"openAPIV3Schema": schema})
    document = v3.document(kinds, "Kubernetes", "v1.36.2")
    found = document["components"]["schemas"]["com.example.stable.v1.CronTab"]
    assert found["description"] == "Times."
    assert found["properties"].keys() == {"apiVersion", "kind", "metadata", "spec"}
    assert found["x-kubernetes-group-version-kind"] == [
        {"group": "stable.example.com", "version": "v1", "kind": "CronTab"}
    ]
    patch = document["paths"]["/apis/stable.example.com/v1/namespaces/{namespace}/crontabs/{name}"]["patch"]
    assert not any("strategic" in media for media in patch["requestBody"]["content"])
    assert "/apis/stable.example.com/v1/namespaces/{namespace}/crontabs/{name}/status" in document["paths"]


def test_a_custom_resource_joins_the_others_in_version_2() -> None:
    kinds = a_crd({"openAPIV3Schema": {"type": "object"}})
    document = v2.document([*KINDS, *kinds], "Kubernetes", "v1.36.2")
    gnostic.encode(document)
    assert "com.example.stable.v1.CronTabList" in document["definitions"]
