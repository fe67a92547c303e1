"""What clients may accept and send: JSON, YAML, protobuf, tables, metadata alone, gzip."""

import gzip
from typing import Any

import orjson
import pytest
import yaml

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import envelope

MAPS = "/api/v1/namespaces/default/configmaps"
PROTOBUF = "application/vnd.kubernetes.protobuf"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "as=PartialObjectMetadata;v=v1;g=meta.k8s.io"


async def test_protobuf_both_ways(rest: Any) -> None:
    config = corev1.ConfigMap(data={"a": "1"})
    config.metadata.name = "c"
    body = envelope.encode(config)
    made = await rest.ask("POST", MAPS, body, Content_Type=PROTOBUF, Accept=PROTOBUF)
    assert (made.status, made.headers["Content-Type"]) == (201, PROTOBUF)
    message = envelope.decode(made.body)
    assert isinstance(message, corev1.ConfigMap)
    assert message.data["a"] == "1"
    listed = envelope.decode((await rest.get(MAPS, Accept=PROTOBUF)).body)
    assert isinstance(listed, corev1.ConfigMapList)
    assert [item.metadata.name for item in listed.items] == ["c"]
    assert listed.items[0] == message
    refused = await rest.get(f"{MAPS}/none", Accept=PROTOBUF)
    status = envelope.decode(refused.body)
    assert isinstance(status, metav1.Status)
    assert (refused.status, status.reason) == (404, "NotFound")


async def test_yaml_both_ways(rest: Any) -> None:
    body = b"metadata:\n  name: c\ndata:\n  'on': 'yes'\n"
    made = await rest.ask("POST", MAPS, body, Content_Type="application/yaml", Accept="application/yaml")
    assert (made.status, made.headers["Content-Type"]) == (201, "application/yaml")
    # Strings that look like something else stay strings.
    assert yaml.safe_load(made.body)["data"] == {"on": "yes"}


async def test_a_table(rest: Any) -> None:
    await rest.ask("POST", MAPS, {"metadata": {"name": "c"}, "data": {"a": "1"}})
    table = (await rest.get(MAPS, Accept=f"{TABLE},application/json")).json
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Data", "Age"]
    (row,) = table["rows"]
    assert row["cells"][:2] == ["c", 1]
    assert row["object"]["kind"] == "PartialObjectMetadata"
    whole = (await rest.get(f"{MAPS}/c?includeObject=Object", Accept=TABLE)).json
    assert whole["rows"][0]["object"]["data"] == {"a": "1"}
    bare = (await rest.get(f"{MAPS}/c?includeObject=None", Accept=TABLE)).json
    assert bare["rows"][0].get("object") is None
    assert (await rest.get(f"{MAPS}?includeObject=Half", Accept=TABLE)).status == 400


@pytest.mark.parametrize("media", ["application/json", PROTOBUF])
async def test_metadata_alone(rest: Any, media: str) -> None:
    await rest.ask("POST", MAPS, {"metadata": {"name": "c", "labels": {"x": "y"}}, "data": {"a": "1"}})
    one = await rest.get(f"{MAPS}/c", Accept=f"{media};{PARTIAL}")
    many = await rest.get(MAPS, Accept=f"{media};as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")
    if media == PROTOBUF:
        partial = envelope.decode(one.body)
        assert isinstance(partial, metav1.PartialObjectMetadata)
        assert dict(partial.metadata.labels) == {"x": "y"}
        partials = envelope.decode(many.body)
        assert isinstance(partials, metav1.PartialObjectMetadataList)
        assert list(partials.items) == [partial]
        return
    assert (one.json["kind"], one.json["apiVersion"]) == ("PartialObjectMetadata", "meta.k8s.io/v1")
    assert one.json["metadata"]["labels"] == {"x": "y"}
    assert "data" not in one.json
    assert many.json["kind"] == "PartialObjectMetadataList"


async def test_large_answers_are_compressed_where_that_is_accepted(rest: Any) -> None:
    for number in range(3):
        await rest.make(MAPS, f"c{number}", data={"a": "x" * 100_000})
    packed = await rest.get(MAPS, Accept_Encoding="gzip")
    plain = await rest.get(MAPS, Accept_Encoding="identity")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert orjson.loads(gzip.decompress(packed.body))["items"] == plain.json["items"]
    small = await rest.get(f"{MAPS}?limit=0&fieldSelector=metadata.name%3Dnone", Accept_Encoding="gzip")
    assert "Content-Encoding" not in small.headers


async def test_lists_of_many_megabytes_come_whole(rest: Any) -> None:
    for number in range(8):
        await rest.make(MAPS, f"c{number}", data={"a": "x" * 1_000_000})
    listed = (await rest.get(MAPS, Accept_Encoding="identity")).json
    assert [len(item["data"]["a"]) for item in listed["items"]] == [1_000_000] * 8


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("*/*", 200),
        ("application/*", 200),
        ("text/html,application/xhtml+xml,*/*;q=0.8", 200),
        ("text/html", 406),
        ("application/json;as=Table;v=v9;g=meta.k8s.io", 406),
        ("application/json;as=Chair;v=v1;g=meta.k8s.io", 406),
        (f"{PROTOBUF};as=Table;v=v1;g=meta.k8s.io", 406),
        (f"{PROTOBUF};as=Table;v=v1;g=meta.k8s.io,application/json", 200),
        ("application/cbor, application/json", 200),
        (";;;,,,", 406),
    ],
)
async def test_what_is_accepted(rest: Any, accept: str, status: int) -> None:
    answer = await rest.get(MAPS, Accept=accept)
    assert answer.status == status
    if status == 406:
        assert answer.reason == "NotAcceptable"


async def test_people_get_it_pretty(rest: Any) -> None:
    await rest.make(MAPS, "c")
    assert b'\n  "kind": "ConfigMap"' in (await rest.get(f"{MAPS}/c?pretty=true")).body
    assert b'\n  "kind": "ConfigMap"' in (await rest.get(f"{MAPS}/c", User_Agent="curl/8")).body
    assert b"\n" not in (await rest.get(f"{MAPS}/c", User_Agent="kubectl")).body


async def test_a_scale_is_a_row_too(rest: Any) -> None:
    labels = {"app": "web"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "busybox"}]}}
    spec = {"replicas": 3, "selector": {"matchLabels": labels}, "template": template}
    sets = "/apis/apps/v1/namespaces/default/replicasets"
    await rest.make(sets, "web", spec=spec)
    table = (await rest.get(f"{sets}/web/scale", Accept=f"{TABLE},application/json")).json
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Desired", "Available", "Age"]
    assert table["rows"][0]["cells"][:3] == ["web", 3, 0]
