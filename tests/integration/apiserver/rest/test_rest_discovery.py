"""/api, /apis, /version and the index, as clients read them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from navarch.protos.k8s.apidiscovery import v2_pb2 as discoveryv2
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import envelope

AGGREGATED = "g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
# What kubectl sends: the newest form first.
KUBECTL = f"application/json;{AGGREGATED},application/json;g=apidiscovery.k8s.io;v=v2beta1,application/json"
CRD: Any = {
    "metadata": {"name": "crontabs.stable.example.com"},
    "spec": {
        "group": "stable.example.com",
        "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "shortNames": ["ct"]},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": {"type": "object", "properties": {"cron": {"type": "string"}}}},
                    }
                },
            }
        ],
    },
}


async def test_the_core_group_says_where_the_server_is(rest: Any) -> None:
    answer = await rest.get("/api")
    assert answer.json["kind"] == "APIVersions"
    assert answer.json["versions"] == ["v1"]
    (address,) = answer.json["serverAddressByClientCIDRs"]
    assert address == {"clientCIDR": "0.0.0.0/0", "serverAddress": f"127.0.0.1:{rest.url.rpartition(':')[2]}"}


async def test_groups_and_their_versions(rest: Any) -> None:
    groups = (await rest.get("/apis")).json
    assert groups["kind"] == "APIGroupList"
    autoscaling = next(group for group in groups["groups"] if group["name"] == "autoscaling")
    assert [one["version"] for one in autoscaling["versions"]] == ["v2", "v1"]
    one = (await rest.get("/apis/autoscaling")).json
    assert (one["kind"], one["preferredVersion"]) == ("APIGroup", {"groupVersion": "autoscaling/v2", "version": "v2"})


@pytest.mark.parametrize(
    ("path", "group_version"), [("/api/v1", "v1"), ("/apis/apps/v1", "apps/v1"), ("/api/v1/", "v1")]
)
async def test_resources_of_a_version(rest: Any, path: str, group_version: str) -> None:
    answer = (await rest.get(path)).json
    assert (answer["kind"], answer["groupVersion"]) == ("APIResourceList", group_version)
    assert all(resource["verbs"] for resource in answer["resources"])


async def test_discovery_in_protobuf(rest: Any) -> None:
    answer = await rest.get("/apis/apps/v1", Accept="application/vnd.kubernetes.protobuf")
    resources = envelope.decode(answer.body, metav1.APIResourceList)
    assert isinstance(resources, metav1.APIResourceList)
    assert "deployments/scale" in [one.name for one in resources.resources]


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/apis/nothing.example", 404, b"404 page not found\n"),
        ("/apis/apps/v9", 404, b"404 page not found\n"),
        ("/api/v2", 404, b"404 page not found\n"),
        ("/nowhere", 404, b"404 page not found\n"),
        ("/openapi/v3/apis/apps/v9", 404, b"404 page not found\n"),
        ("/readyz/nothing", 404, b"404 page not found\n"),
    ],
)
async def test_what_is_not_there_is_said_in_plain_text(rest: Any, path: str, status: int, body: bytes) -> None:
    answer = await rest.get(path)
    assert (answer.status, answer.body) == (status, body)


async def test_an_unknown_resource_of_a_known_group_is_a_status(rest: Any) -> None:
    answer = await rest.get("/apis/apps/v1/things")
    assert (answer.status, answer.reason) == (404, "NotFound")
    assert answer.json["message"] == "the server could not find the requested resource"


@pytest.mark.parametrize("path", ["/api", "/apis"])
async def test_the_aggregated_form_is_sent_once(rest: Any, path: str) -> None:
    answer = await rest.get(path, Accept=KUBECTL)
    assert answer.headers["Content-Type"] == f"application/json;{AGGREGATED}"
    assert answer.json["kind"] == "APIGroupDiscoveryList"
    assert answer.json["apiVersion"] == "apidiscovery.k8s.io/v2"
    again = await rest.get(path, Accept=KUBECTL, If_None_Match=answer.headers["ETag"])
    assert (again.status, again.body) == (304, b"")


async def test_the_aggregated_form_in_protobuf(rest: Any) -> None:
    media = f"application/vnd.kubernetes.protobuf;{AGGREGATED}"
    answer = await rest.get("/api", Accept=media)
    assert answer.headers["Content-Type"] == media
    found = envelope.decode(answer.body, discoveryv2.APIGroupDiscoveryList)
    assert isinstance(found, discoveryv2.APIGroupDiscoveryList)
    (core,) = found.items
    assert "pods" in [one.resource for one in core.versions[0].resources]


async def test_an_older_form_is_answered_in_the_plain_one(rest: Any) -> None:
    old = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
    answer = await rest.get("/apis", Accept=f"{old},application/json")
    assert answer.json["kind"] == "APIGroupList"


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    while not await holds():
        await asyncio.sleep(0.02)


async def test_a_custom_resource_shows_up_and_goes(rest: Any) -> None:
    before = await rest.get("/apis", Accept=KUBECTL)
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await rest.make(definitions, CRD["metadata"]["name"], spec=CRD["spec"])

    async def is_served() -> bool:
        return bool((await rest.get("/apis/stable.example.com/v1")).status == 200)

    await eventually(is_served)
    after = await rest.get("/apis", Accept=KUBECTL, If_None_Match=before.headers["ETag"])
    assert after.status == 200
    assert after.json["items"][-1]["metadata"]["name"] == "stable.example.com"
    resources = (await rest.get("/apis/stable.example.com/v1")).json["resources"]
    assert [one["name"] for one in resources] == ["crontabs"]
    assert resources[0]["shortNames"] == ["ct"]
    index = (await rest.get("/openapi/v3")).json["paths"]
    document = (await rest.get(index["apis/stable.example.com/v1"]["serverRelativeURL"])).json
    assert "com.example.stable.v1.CronTab" in document["components"]["schemas"]
    await rest.ask("DELETE", f"{definitions}/crontabs.stable.example.com")

    async def is_gone() -> bool:
        return bool((await rest.get("/apis/stable.example.com")).status == 404)

    await eventually(is_gone)
    assert "apis/stable.example.com/v1" not in (await rest.get("/openapi/v3")).json["paths"]


async def test_the_version_is_one_that_clients_can_parse(rest: Any) -> None:
    version = (await rest.get("/version")).json
    assert (version["major"], version["minor"]) == ("1", "36")
    assert version["gitVersion"].startswith("v1.36.2+navarch.")


async def test_the_index_lists_paths(rest: Any) -> None:
    paths = (await rest.get("/")).json["paths"]
    assert {"/api", "/api/v1", "/apis/apps", "/apis/apps/v1", "/openapi/v2", "/readyz/etcd", "/version"} <= set(paths)


@pytest.mark.parametrize("path", ["/api", "/apis", "/apis/apps", "/version", "/openapi/v2", "/openapi/v3", "/readyz"])
async def test_nothing_can_be_written_to_these_paths(rest: Any, path: str) -> None:
    assert (await rest.ask("POST", path, {})).status == 405
