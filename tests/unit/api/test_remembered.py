"""What follows from a spec alone is worked out once, and is the same each time."""

import orjson
import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import codec, remembered
from navarch.services.api.remembered import Remembered
from navarch.services.api.validation.pods import MIRROR, validate_pod_content


def pod(name: str, **spec: object) -> corev1.Pod:
    made = corev1.Pod(spec=corev1.PodSpec(**{"restart_policy": "Always", "dns_policy": "ClusterFirst", **spec}))  # type: ignore[arg-type]
    made.metadata.name = name
    made.spec.containers.add(name="main", image="image", image_pull_policy="Always", termination_message_policy="File")
    return made


def test_what_is_large_is_not_kept_and_the_rest_not_without_bound() -> None:
    known: Remembered[int] = Remembered()
    large = corev1.PodSpec(node_name="x" * remembered.LARGE_BYTES)
    assert known.keep(known.key(large), 1) == 1
    assert known.recall(known.key(large)) is None
    for number in range(remembered.ENTRIES + 1):
        known.keep(known.key(corev1.PodSpec(node_name=str(number))), number)
    assert known.recall(known.key(corev1.PodSpec(node_name="0"))) is None
    newest = corev1.PodSpec(node_name=str(remembered.ENTRIES))
    assert known.recall(known.key(newest)) == remembered.ENTRIES
    assert known.recall(known.key(newest, "another question")) is None


@pytest.mark.parametrize("node", ["", "node-1"])
def test_the_text_of_equal_specs_is_the_same_as_without_memory(node: str) -> None:
    expected = codec.to_json(pod("web", node_name=node))
    for _ in range(2):
        found = orjson.loads(b"{" + codec.to_json_members(pod("web", node_name=node)))
        assert found == {name: part for name, part in expected.items() if name not in ("apiVersion", "kind")}
    assert orjson.loads(b"{" + codec.to_json_members(corev1.Pod())) == {
        name: part for name, part in codec.to_json(corev1.Pod()).items() if name not in ("apiVersion", "kind")
    }


def test_faults_are_found_each_time() -> None:
    for _ in range(2):
        assert not list(validate_pod_content(pod("web")))
        assert [str(error) for error in validate_pod_content(pod("web", restart_policy=""))]


def test_what_depends_on_the_metadata_is_asked_again() -> None:
    def with_claim(name: str) -> corev1.Pod:
        made = pod(name)
        claim = made.spec.volumes.add(name="scratch").volume_source.ephemeral.volume_claim_template.spec
        claim.access_modes.append("ReadWriteOnce")
        claim.resources.requests["storage"].string = "1Gi"
        return made

    assert not list(validate_pod_content(with_claim("web")))
    assert list(validate_pod_content(with_claim("Web")))
    claiming = pod("web")
    claiming.spec.resource_claims.add(name="gpu", resource_claim_name="gpu")
    assert not list(validate_pod_content(claiming))
    claiming.metadata.annotations[MIRROR] = "x"
    assert list(validate_pod_content(claiming))
