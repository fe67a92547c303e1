"""Custom resources through the Kubernetes door: formats, warnings, tables, versions that a webhook converts."""

import asyncio
import base64
import ssl
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from .conftest import Rest

GROUP = "rest.example.com"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {"size": {"type": "integer", "maximum": 9}, "host": {"type": "string"}},
        },
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}
Make = Callable[..., Any]


def version(name: str, *, storage: bool = False, **more: Any) -> dict[str, Any]:
    return {"name": name, "served": True, "storage": storage, "schema": {"openAPIV3Schema": SCHEMA}, **more}


async def define(rest: Rest, *versions: dict[str, Any], **more: Any) -> str:
    """Make the definition; the path of the first version's objects, once they are served."""
    spec = {
        "group": GROUP,
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"},
        "versions": list(versions),
        **more,
    }
    await rest.make(DEFINITIONS, f"widgets.{GROUP}", spec=spec)
    async with asyncio.timeout(20):
        while True:
            found = (await rest.get(f"{DEFINITIONS}/widgets.{GROUP}")).json
            if any(one["type"] == "Established" and one["status"] == "True" for one in found["status"]["conditions"]):
                return f"/apis/{GROUP}/{versions[0]['name']}/namespaces/default/widgets"
            await asyncio.sleep(0.02)


def widget(name: str = "one", api_version: str = f"{GROUP}/v1", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": "Widget", "metadata": {"name": name}, "spec": spec}


async def test_objects_are_json_with_their_type(rest: Rest) -> None:
    path = await define(rest, version("v1", storage=True))
    created = await rest.ask("POST", path, widget(size=3))
    assert created.status == 201
    assert {key: created.json[key] for key in ("apiVersion", "kind", "spec")} == {
        "apiVersion": f"{GROUP}/v1", "kind": "Widget", "spec": {"size": 3},
    }  # fmt: skip
    listed = (await rest.get(path)).json
    assert (listed["kind"], listed["apiVersion"]) == ("WidgetList", f"{GROUP}/v1")
    assert [(one["kind"], one["spec"]) for one in listed["items"]] == [("Widget", {"size": 3})]
    gone = await rest.ask("DELETE", f"{path}/one")
    assert (gone.json["status"], gone.json["details"]["kind"]) == ("Success", "widgets")


async def test_protobuf_is_not_for_custom_objects(rest: Rest) -> None:
    path = await define(rest, version("v1", storage=True))
    refused = await rest.ask("POST", path, b"k8s\0", Content_Type="application/vnd.kubernetes.protobuf")
    assert refused.status == 415
    assert (await rest.get(path, Accept="application/vnd.kubernetes.protobuf")).status == 406


async def test_unknown_fields_are_told(rest: Rest) -> None:
    path = await define(rest, version("v1", storage=True))
    strict = await rest.ask("POST", f"{path}?fieldValidation=Strict", widget(size=1, colour="red"))
    assert strict.status == 400
    assert 'strict decoding error: unknown field "spec.colour"' in strict.json["message"]
    warned = await rest.ask("POST", f"{path}?fieldValidation=Warn", widget(size=1, colour="red"))
    assert (warned.status, warned.json["spec"]) == (201, {"size": 1})
    assert warned.headers["Warning"] == '299 - "unknown field \\"spec.colour\\""'
    twice = b'{"apiVersion":"rest.example.com/v1","kind":"Widget","metadata":{"name":"d"},"spec":{"size":1,"size":2}}'
    assert (
        'duplicate field "spec.size"'
        in (await rest.ask("POST", f"{path}?fieldValidation=Strict", twice)).json["message"]
    )
    ignored = await rest.ask("POST", f"{path}?fieldValidation=Ignore", widget("two", colour="red"))
    assert "Warning" not in ignored.headers


async def test_invalid_objects_have_causes(rest: Rest) -> None:
    path = await define(rest, version("v1", storage=True))
    refused = (await rest.ask("POST", path, widget(size=10))).json
    assert (refused["reason"], refused["code"]) == ("Invalid", 422)
    assert refused["details"]["causes"] == [
        {
            "reason": "FieldValueInvalid",
            "message": "Invalid value: 10: spec.size in body should be less than or equal to 9",
            "field": "spec.size",
        }
    ]


async def test_deprecated_versions_warn(rest: Rest) -> None:
    path = await define(rest, version("v1", storage=True, deprecated=True, deprecationWarning="use something else"))
    created = await rest.ask("POST", path, widget(size=1))
    assert created.headers["Warning"] == '299 - "use something else"'


async def test_tables_show_printer_columns(rest: Rest) -> None:
    columns = [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}]
    path = await define(rest, version("v1", storage=True, additionalPrinterColumns=columns))
    await rest.ask("POST", path, widget(size=4))
    table = (await rest.get(path, Accept="application/json;as=Table;v=v1;g=meta.k8s.io")).json
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Size"]
    assert [row["cells"] for row in table["rows"]] == [["one", 4]]


async def test_discovery_follows_definitions(rest: Rest) -> None:
    await define(rest, version("v1", storage=True, subresources={"status": {}}))
    resources = (await rest.get(f"/apis/{GROUP}/v1")).json["resources"]
    assert sorted(one["name"] for one in resources) == ["widgets", "widgets/status"]
    groups = [group["name"] for group in (await rest.get("/apis")).json["groups"]]
    assert GROUP in groups
    await rest.ask("DELETE", f"{DEFINITIONS}/widgets.{GROUP}")
    async with asyncio.timeout(20):
        while (await rest.get(f"/apis/{GROUP}/v1/widgets")).status != 404:
            await asyncio.sleep(0.02)
    assert GROUP not in [group["name"] for group in (await rest.get("/apis")).json["groups"]]


def converted(document: dict[str, Any], desired: str) -> dict[str, Any]:
    """v1 has spec.size, v2 has spec.host, which is the size as text."""
    spec = dict(document["spec"])
    if desired.endswith("v2") and "size" in spec:
        spec["host"] = f"host-{spec.pop('size')}"
    elif desired.endswith("v1") and "host" in spec:
        spec["size"] = int(spec.pop("host").removeprefix("host-"))
    return {**document, "apiVersion": desired, "spec": spec}


class Webhook:
    """A conversion webhook; `broken` makes it refuse."""

    def __init__(self) -> None:
        self.broken = ""
        self.url = ""

    async def handle(self, request: web.Request) -> web.Response:
        review = await request.json()
        asked = review["request"]
        response: dict[str, Any] = {"uid": asked["uid"], "result": {"status": "Success"}}
        if self.broken:
            response["result"] = {"status": "Failed", "message": self.broken}
        else:
            response["convertedObjects"] = [converted(one, asked["desiredAPIVersion"]) for one in asked["objects"]]
        answer = {"apiVersion": review["apiVersion"], "kind": "ConversionReview", "response": response}
        # More than arrives at once.
        return web.json_response({**answer, "padding": "x" * (1 << 20)})


@pytest.fixture
async def webhook(cluster: Any, tmp_path: Any) -> AsyncIterator[Webhook]:
    own = cluster.authority.issue("webhook", [], ["localhost"], ["127.0.0.1"], now=time.time(), server=True)
    (tmp_path / "cert").write_bytes(own.cert)
    (tmp_path / "key").write_bytes(own.key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    hook = Webhook()
    app = web.Application()
    app.router.add_post("/convert", hook.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    hook.url = f"https://127.0.0.1:{runner.addresses[0][1]}/convert"
    yield hook
    await runner.cleanup()


def conversion(cluster: Any, hook: Webhook) -> dict[str, Any]:
    bundle = base64.b64encode(cluster.credentials("any").ca).decode()
    client = {"url": hook.url, "caBundle": bundle}
    return {"strategy": "Webhook", "webhook": {"clientConfig": client, "conversionReviewVersions": ["v1"]}}


async def test_a_webhook_converts_on_read_write_and_watch(rest: Rest, cluster: Any, webhook: Webhook) -> None:
    versions = version("v1", storage=True), version("v2")
    path = await define(rest, *versions, conversion=conversion(cluster, webhook))
    newer = path.replace("/v1/", "/v2/")
    created = await rest.ask("POST", newer, widget(api_version=f"{GROUP}/v2", host="host-3"))
    assert (created.status, created.json["spec"]) == (201, {"host": "host-3"})
    assert (await rest.get(f"{path}/one")).json["spec"] == {"size": 3}
    assert (await rest.get(f"{newer}/one")).json["spec"] == {"host": "host-3"}
    patch = {"spec": {"host": "host-5"}}
    patched = await rest.ask("PATCH", f"{newer}/one", patch, Content_Type="application/merge-patch+json")
    assert patched.json["spec"] == {"host": "host-5"}
    assert [one["spec"] for one in (await rest.get(path)).json["items"]] == [{"size": 5}]
    watched = await rest.get(f"{newer}?watch=1&timeoutSeconds=1")
    assert b'"host":"host-5"' in watched.body
    webhook.broken = "not today"
    refused = await rest.get(f"{newer}/one?resourceVersion=")
    # What the cache of the version holds was converted before; new objects cannot be.
    assert refused.status == 200
    new = await rest.ask("POST", newer, widget("late", api_version=f"{GROUP}/v2", host="host-1"))
    assert new.status == 500
    assert "conversion webhook for rest.example.com/v2, Kind=Widget failed: " in new.json["message"]
    assert "not today" in new.json["message"]
