"""`apply`: what was said before, what is said now, what is there."""

import orjson
import pytest

from navarch.protos.k8s.apps import v1_pb2 as appsv1
from navarch.services.api.errors import BadRequest
from navarch.services.api.patches import strategic, three_way

SCHEMA = appsv1.Deployment.DESCRIPTOR


def manifest(**spec) -> dict:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def applied(said: dict, **added_by_others) -> dict:
    live = three_way.annotated(said)
    return {**live, "spec": {**live["spec"], **added_by_others}}


def after(live: dict, said: dict) -> dict:
    return strategic.apply(live, three_way.patch_for(live, said, SCHEMA), SCHEMA)


def test_the_same_manifest_again_changes_nothing():
    live = applied(manifest(paused=True), progressDeadlineSeconds=600)
    assert three_way.patch_for(live, manifest(paused=True), SCHEMA) == {}


def test_what_is_no_longer_said_goes():
    result = after(applied(manifest(replicas=3, paused=True)), manifest(paused=True))
    assert "replicas" not in result["spec"]


def test_what_others_set_stays():
    result = after(applied(manifest(paused=True), replicas=7), manifest(paused=False))
    assert result["spec"] == {"paused": False, "replicas": 7}


def test_what_others_changed_is_set_back_if_it_is_said():
    result = after(applied(manifest(replicas=3), replicas=7), manifest(replicas=3))
    assert result["spec"]["replicas"] == 3


def test_a_container_that_is_no_longer_said_goes_and_an_injected_one_stays():
    def template(*names: str) -> dict:
        return {"template": {"spec": {"containers": [{"name": name, "image": name} for name in names]}}}

    live = applied(manifest(**template("a", "b")), **template("a", "b", "injected"))
    result = after(live, manifest(**template("a")))
    assert [c["name"] for c in result["spec"]["template"]["spec"]["containers"]] == ["a", "injected"]


def test_a_change_of_strategy_drops_the_defaults_of_the_old_one():
    live = applied(manifest(strategy={"type": "RollingUpdate"}))
    live["spec"]["strategy"]["rollingUpdate"] = {"maxSurge": "25%"}
    assert after(live, manifest(strategy={"type": "Recreate"}))["spec"]["strategy"] == {"type": "Recreate"}


def test_the_annotation_is_renewed():
    result = after(applied(manifest(replicas=1)), manifest(replicas=2))
    assert orjson.loads(result["metadata"]["annotations"][three_way.LAST_APPLIED])["spec"] == {"replicas": 2}


def test_an_object_made_without_apply_loses_nothing():
    live = manifest(replicas=3, paused=True)
    assert after(live, manifest(paused=False))["spec"] == {"replicas": 3, "paused": False}


def test_null_in_a_manifest_removes():
    assert "paused" not in after(manifest(paused=True), manifest(paused=None))["spec"]


def test_without_schema_the_patch_is_a_merge_patch():
    live = three_way.annotated({"metadata": {"name": "x"}, "spec": {"list": [1], "gone": 1}})
    patch = three_way.patch_for(live, {"metadata": {"name": "x"}, "spec": {"list": [2]}}, None)
    assert patch["spec"] == {"gone": None, "list": [2]}


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_broken_annotation_is_refused(text):
    with pytest.raises(BadRequest, match="last-applied"):
        three_way.last_applied({"metadata": {"annotations": {three_way.LAST_APPLIED: text}}})
