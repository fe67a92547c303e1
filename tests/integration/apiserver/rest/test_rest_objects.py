"""Objects through the Kubernetes door: verbs, options, and the refusals clients look at."""

import asyncio
import json
import re
from typing import Any

import pytest

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
POD = {"spec": {"containers": [{"name": "main", "image": "busybox"}]}}


class TestCreate:
    async def test_a_new_object_comes_back_as_stored(self, rest: Any) -> None:
        made = await rest.make(PODS, "web", **POD)
        assert (made["kind"], made["apiVersion"]) == ("Pod", "v1")
        assert made["spec"]["restartPolicy"] == "Always"
        assert made["status"]["phase"] == "Pending"
        assert made["metadata"]["uid"]
        again = await rest.get(f"{PODS}/web")
        assert (again.status, again.json) == (200, made)

    async def test_a_name_that_is_taken(self, rest: Any) -> None:
        await rest.make(MAPS, "a")
        refused = await rest.ask("POST", MAPS, {"metadata": {"name": "a"}})
        assert (refused.status, refused.reason) == (409, "AlreadyExists")
        assert refused.json["details"] == {"name": "a", "kind": "configmaps"}
        assert refused.json["message"] == 'configmaps "a" already exists'

    async def test_a_generated_name(self, rest: Any) -> None:
        made = await rest.ask("POST", MAPS, {"metadata": {"generateName": "c-"}})
        assert made.status == 201
        assert made.json["metadata"]["name"].startswith("c-")

    async def test_dry_run_stores_nothing(self, rest: Any) -> None:
        tried = await rest.ask("POST", f"{MAPS}?dryRun=All", {"metadata": {"name": "a"}})
        assert tried.status == 201
        assert "resourceVersion" not in tried.json["metadata"]
        assert (await rest.get(f"{MAPS}/a")).status == 404

    async def test_causes_name_the_fields(self, rest: Any) -> None:
        refused = await rest.ask("POST", PODS, {"metadata": {"name": "a"}, "spec": {"containers": []}})
        assert (refused.status, refused.reason) == (422, "Invalid")
        assert [cause["field"] for cause in refused.json["details"]["causes"]] == ["spec.containers"]

    @pytest.mark.parametrize(
        ("mode", "status", "warned"),
        [("Strict", 400, False), ("Warn", 201, True), ("", 201, True), ("Ignore", 201, False)],
    )
    async def test_fields_that_nobody_knows(self, rest: Any, mode: str, status: int, warned: bool) -> None:
        query = f"?fieldValidation={mode}" if mode else ""
        answer = await rest.ask("POST", MAPS + query, {"metadata": {"name": "a"}, "dta": {}})
        assert answer.status == status
        assert answer.headers.getall("Warning", []) == (['299 - "unknown field \\"dta\\""'] if warned else [])
        if status == 400:
            refusal = 'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field'
            assert answer.json["message"] == f'{refusal} "dta"'

    @pytest.mark.parametrize(
        ("how", "shown"),
        [("strategic-merge", r"map[dta:map[x:[a <nil> true]]]"), ("merge", '{"dta":{"x":["a",null,true]}}')],
    )
    async def test_fields_in_patches_that_nobody_knows(self, rest: Any, how: str, shown: str) -> None:
        await rest.make(MAPS, "a")
        body, media = b'{"dta": {"x": ["a", null, true]}}', f"application/{how}-patch+json"
        refused = await rest.ask("PATCH", f"{MAPS}/a?fieldValidation=Strict", body, Content_Type=media)
        assert (refused.status, refused.reason) == (422, "Invalid")
        (cause,) = refused.json["details"]["causes"]
        assert cause["field"] == "patch"
        assert cause["message"] == f'Invalid value: {json.dumps(shown)}: strict decoding error: unknown field "dta"'

    async def test_duplicate_fields_are_told(self, rest: Any) -> None:
        answer = await rest.ask("POST", MAPS, b'{"metadata":{"name":"a"},"data":{"x":"1"},"data":{"x":"2"}}')
        assert answer.headers.getall("Warning") == ['299 - "duplicate field \\"data\\""']
        assert answer.json["data"] == {"x": "2"}


class TestUpdate:
    async def test_replaces_what_it_was_made_from(self, rest: Any) -> None:
        made = await rest.make(MAPS, "a", data={"x": "1"})
        made["data"] = {"y": "2"}
        put = await rest.ask("PUT", f"{MAPS}/a", made)
        assert (put.status, put.json["data"]) == (200, {"y": "2"})
        stale = await rest.ask("PUT", f"{MAPS}/a", made | {"data": {"z": "3"}})
        assert (stale.status, stale.reason) == (409, "Conflict")

    async def test_the_url_names_the_object(self, rest: Any) -> None:
        made = await rest.make(MAPS, "a")
        assert (await rest.ask("PUT", f"{MAPS}/b", made)).status == 400

    async def test_status_is_a_part_of_its_own(self, rest: Any) -> None:
        made = await rest.make(PODS, "web", **POD)
        made["status"]["phase"] = "Running"
        made["spec"]["containers"][0]["image"] = "other"
        put = await rest.ask("PUT", f"{PODS}/web/status", made)
        assert put.json["status"]["phase"] == "Running"
        assert put.json["spec"]["containers"][0]["image"] == "busybox"

    @pytest.mark.parametrize(
        ("media", "patch"),
        [
            ("application/merge-patch+json", {"data": {"x": None, "y": "2"}}),
            ("application/strategic-merge-patch+json", {"data": {"x": None, "y": "2"}}),
            (
                "application/json-patch+json",
                [{"op": "remove", "path": "/data/x"}, {"op": "add", "path": "/data/y", "value": "2"}],
            ),
        ],
    )
    async def test_patches(self, rest: Any, media: str, patch: Any) -> None:
        await rest.make(MAPS, "a", data={"x": "1"})
        answer = await rest.ask("PATCH", f"{MAPS}/a", patch, Content_Type=media)
        assert (answer.status, answer.json["data"]) == (200, {"y": "2"})

    async def test_a_patch_of_no_known_type(self, rest: Any) -> None:
        await rest.make(MAPS, "a")
        answer = await rest.ask("PATCH", f"{MAPS}/a", {}, Content_Type="application/json")
        assert (answer.status, answer.reason) == (415, "UnsupportedMediaType")

    async def test_scale(self, rest: Any) -> None:
        path = "/apis/apps/v1/namespaces/default/deployments"
        template = {"metadata": {"labels": {"a": "b"}}, **POD}
        await rest.make(path, "web", spec={"selector": {"matchLabels": {"a": "b"}}, "template": template})
        scale = (await rest.get(f"{path}/web/scale")).json
        assert (scale["kind"], scale["apiVersion"], scale["spec"]) == ("Scale", "autoscaling/v1", {"replicas": 1})
        scale["spec"]["replicas"] = 3
        assert (await rest.ask("PUT", f"{path}/web/scale", scale)).json["spec"] == {"replicas": 3}
        patched = await rest.ask(
            "PATCH", f"{path}/web/scale", {"spec": {"replicas": 2}}, Content_Type="application/merge-patch+json"
        )
        assert patched.json["spec"] == {"replicas": 2}
        assert (await rest.get(f"{path}/web")).json["spec"]["replicas"] == 2


class TestDelete:
    async def test_a_status_says_what_is_gone(self, rest: Any) -> None:
        made = await rest.make(MAPS, "a")
        gone = await rest.ask("DELETE", f"{MAPS}/a")
        assert gone.status == 200
        assert (gone.json["kind"], gone.json["status"]) == ("Status", "Success")
        assert gone.json["details"] == {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]}

    async def test_finalizers_keep_it(self, rest: Any) -> None:
        await rest.ask("POST", MAPS, {"metadata": {"name": "a", "finalizers": ["example.org/x"]}})
        held = await rest.ask("DELETE", f"{MAPS}/a")
        assert held.json["metadata"]["deletionTimestamp"]
        freed = await rest.ask(
            "PATCH", f"{MAPS}/a", {"metadata": {"finalizers": None}}, Content_Type="application/merge-patch+json"
        )
        assert freed.status == 200
        assert (await rest.get(f"{MAPS}/a")).status == 404

    async def test_options_in_the_body_or_in_the_query(self, rest: Any) -> None:
        await rest.make(MAPS, "a")
        wrong = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "other"}}
        assert (await rest.ask("DELETE", f"{MAPS}/a", wrong)).reason == "Conflict"
        tried = await rest.ask("DELETE", f"{MAPS}/a?dryRun=All&propagationPolicy=Foreground")
        assert tried.status == 200
        assert (await rest.get(f"{MAPS}/a")).status == 200

    async def test_a_collection(self, rest: Any) -> None:
        for name in ("a", "b", "c"):
            await rest.ask("POST", MAPS, {"metadata": {"name": name, "labels": {"keep": str(name == "b").lower()}}})
        deleted = await rest.ask("DELETE", f"{MAPS}?labelSelector=keep%3Dfalse")
        assert (deleted.status, deleted.json["kind"]) == (200, "ConfigMapList")
        left = [item["metadata"]["name"] for item in (await rest.get(MAPS)).json["items"]]
        assert left == ["b"]


class TestRead:
    async def test_pages_are_one_list(self, rest: Any) -> None:
        for number in range(7):
            await rest.make(MAPS, f"m{number}")
        first = (await rest.get(f"{MAPS}?limit=3")).json
        assert (len(first["items"]), first["metadata"]["remainingItemCount"]) == (3, 4)
        await rest.make(MAPS, "m9")
        names, token = [item["metadata"]["name"] for item in first["items"]], first["metadata"]["continue"]
        while token:
            page = (await rest.get(f"{MAPS}?limit=3&continue={token}")).json
            assert page["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
            names += [item["metadata"]["name"] for item in page["items"]]
            token = page["metadata"].get("continue")
        assert names == [f"m{number}" for number in range(7)]

    @pytest.mark.parametrize(
        ("query", "status", "reason"),
        [
            ("?resourceVersion=abc", 400, "BadRequest"),
            ("?continue=nonsense", 400, "BadRequest"),
            ("?limit=many", 400, "BadRequest"),
            ("?labelSelector=a%3D%3D%3Db", 400, "BadRequest"),
            ("?fieldSelector=spec.color%3Dred", 400, "BadRequest"),
        ],
    )
    async def test_what_cannot_be_asked(self, rest: Any, query: str, status: int, reason: str) -> None:
        refused = await rest.get(MAPS + query)
        assert (refused.status, refused.reason) == (status, reason)

    async def test_a_version_that_nobody_has_written_yet(self, rest: Any) -> None:
        late = await rest.get(f"{MAPS}?resourceVersion=999999999")
        assert (late.status, late.reason, late.headers["Retry-After"]) == (504, "Timeout", "1")
        assert late.json["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"

    async def test_all_namespaces_and_one(self, rest: Any) -> None:
        await rest.make("/api/v1/namespaces", "other")
        await rest.make(MAPS, "a")
        await rest.make("/api/v1/namespaces/other/configmaps", "b")
        everywhere = {item["metadata"]["name"] for item in (await rest.get("/api/v1/configmaps")).json["items"]}
        assert {"a", "b"} <= everywhere
        assert [item["metadata"]["name"] for item in (await rest.get(MAPS)).json["items"]] == ["a"]


class TestWhoAsks:
    async def test_a_stranger_is_refused_in_kubernetes_words(self, connect: Any) -> None:
        jane = await connect("jane")
        refused = await jane.get(PODS)
        assert (refused.status, refused.reason) == (403, "Forbidden")
        assert refused.json["message"] == (
            'pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default"'
        )

    async def test_writers_at_the_same_object_all_get_through_with_patches(self, rest: Any) -> None:
        await rest.make(MAPS, "a")
        answers = await asyncio.gather(
            *(
                rest.ask("PATCH", f"{MAPS}/a", {"data": {f"k{n}": "v"}}, Content_Type="application/merge-patch+json")
                for n in range(20)
            )
        )
        assert {answer.status for answer in answers} == {200}
        assert len((await rest.get(f"{MAPS}/a")).json["data"]) == 20


async def test_objects_and_lists_as_they_were(rest: Any) -> None:
    first = await rest.make(MAPS, "a", data={"x": "1"})
    then = first["metadata"]["resourceVersion"]
    await rest.ask("PATCH", f"{MAPS}/a", {"data": {"x": "2"}}, Content_Type="application/merge-patch+json")
    await rest.make(MAPS, "b")
    assert (await rest.get(f"{MAPS}/a?at={then}")).json == first
    listed = (await rest.get(f"{MAPS}?at={then}")).json
    assert [item["data"] for item in listed["items"]] == [{"x": "1"}]
    assert (await rest.get(f"{MAPS}/a?at=yesterday")).status == 400


async def test_kinds_on_their_way_out_say_so(rest: Any) -> None:
    listed = await rest.get("/api/v1/namespaces/default/endpoints")
    advice = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
    assert listed.headers.getall("Warning") == [f'299 - "{advice}"']
    assert "Warning" not in (await rest.get(MAPS)).headers


async def test_who_am_i(rest: Any) -> None:
    """What the certificate says comes before what all users are."""
    answer = await rest.ask("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {})
    user = answer.json["status"]["userInfo"]
    assert user["groups"] == ["system:masters", "system:authenticated"]
    (proof,) = user["extra"]["authentication.kubernetes.io/credential-id"]
    assert re.fullmatch("X509SHA256=[0-9a-f]{64}", proof)
