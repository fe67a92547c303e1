"""/openapi: formats, hashes and compression."""

import zlib
from typing import Any

import orjson
import pytest

from navarch.protos.openapi import v2_pb2

PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
DEPRECATED = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"


async def test_the_index_leads_to_documents_that_may_be_kept(rest: Any) -> None:
    paths = (await rest.get("/openapi/v3")).json["paths"]
    url = paths["apis/apps/v1"]["serverRelativeURL"]
    answer = await rest.get(url)
    assert answer.json["openapi"] == "3.0.0"
    assert "immutable" in answer.headers["Cache-Control"]
    assert answer.headers["ETag"].strip('"') == url.partition("hash=")[2]


async def test_an_old_hash_leads_to_the_new_one(cluster: Any, rest: Any) -> None:
    async with rest.session.get(f"{rest.url}/openapi/v3/api/v1?hash=0", allow_redirects=False) as answer:
        assert answer.status == 301
        assert answer.headers["Location"].startswith("/openapi/v3/api/v1?hash=")


@pytest.mark.parametrize("path", ["/openapi/v2", "/openapi/v3/api/v1", "/openapi/v3"])
async def test_who_has_it_already_gets_nothing(rest: Any, path: str) -> None:
    first = await rest.get(path)
    again = await rest.get(path, If_None_Match=first.headers["ETag"])
    assert (again.status, again.body) == (304, b"")


async def test_compression_is_for_those_who_accept_it(rest: Any) -> None:
    packed = await rest.get("/openapi/v2", Accept_Encoding="gzip")
    plain = await rest.get("/openapi/v2", Accept_Encoding="identity")
    assert packed.headers["Content-Encoding"] == "gzip"
    assert "Content-Encoding" not in plain.headers
    assert zlib.decompress(packed.body, 31) == plain.body
    assert orjson.loads(plain.body)["swagger"] == "2.0"


@pytest.mark.parametrize("accept", [PROTOBUF, DEPRECATED, f"{PROTOBUF}, {DEPRECATED}"])
async def test_version_2_in_protobuf(rest: Any, accept: str) -> None:
    answer = await rest.get("/openapi/v2", Accept=accept, Accept_Encoding="identity")
    assert answer.headers["Content-Type"] == PROTOBUF
    document = v2_pb2.Document.FromString(answer.body)
    assert "io.k8s.api.core.v1.Pod" in [one.name for one in document.definitions.additional_properties]


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("/openapi/v2", "text/html"),
        ("/openapi/v3/api/v1", "application/com.github.proto-openapi.spec.v3.v1.0+protobuf"),
    ],
)
async def test_other_formats_are_refused(rest: Any, path: str, accept: str) -> None:
    answer = await rest.get(path, Accept=accept)
    assert answer.status == 406
