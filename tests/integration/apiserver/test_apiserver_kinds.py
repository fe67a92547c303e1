"""Kinds with rules that reach beyond one message: versions of autoscalers, names of Jobs, parts of Pods."""

import pytest

from navarch.protos.k8s.autoscaling import v1_pb2 as autoscalingv1
from navarch.protos.k8s.autoscaling import v2_pb2 as autoscalingv2
from navarch.protos.k8s.batch import v1_pb2 as batchv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import errors
from navarch.services.api.codec import from_json
from navarch.services.client.client import Client


def autoscaler(version: str, name: str) -> autoscalingv1.HorizontalPodAutoscaler:
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": "web"}, "maxReplicas": 5}
    manifest = {"apiVersion": f"autoscaling/{version}", "kind": "HorizontalPodAutoscaler", "spec": spec}
    return from_json({**manifest, "metadata": {"name": name, "namespace": "default"}})  # type: ignore[return-value]


async def test_an_autoscaler_of_the_first_version_is_one_of_the_second(client: Client) -> None:
    made = autoscaler("v1", "old")
    made.spec.target_cpu_utilization_percentage = 50
    await client.create(made)
    seen = await client.get(autoscalingv2.HorizontalPodAutoscaler, "old", "default")
    assert seen.spec.metrics[0].resource.target.average_utilization == 50
    seen.spec.metrics[0].resource.name = "memory"
    await client.update(seen)
    back = await client.get(autoscalingv1.HorizontalPodAutoscaler, "old", "default")
    assert not back.spec.HasField("target_cpu_utilization_percentage")
    assert "memory" in back.metadata.annotations["autoscaling.alpha.kubernetes.io/metrics"]
    back.spec.max_replicas = 9
    await client.update(back)
    seen = await client.get(autoscalingv2.HorizontalPodAutoscaler, "old", "default")
    assert (seen.spec.max_replicas, seen.spec.metrics[0].resource.name) == (9, "memory")
    assert not seen.metadata.annotations


async def test_both_versions_list_the_same_autoscalers(client: Client) -> None:
    for version, name in (("v1", "a"), ("v2", "b")):
        await client.create(autoscaler(version, name))
    for cls in (autoscalingv1.HorizontalPodAutoscaler, autoscalingv2.HorizontalPodAutoscaler):
        found = await client.list(cls, "default")
        assert sorted(scaler.metadata.name for scaler in found.items) == ["a", "b"]


async def test_a_job_with_a_generated_name_selects_its_pods(client: Client) -> None:
    job = batchv1.Job()
    job.metadata.generate_name, job.metadata.namespace = "sum-", "default"
    job.spec.template.spec.restart_policy = "Never"
    job.spec.template.spec.containers.add(name="c", image="x")
    made = await client.create(job)
    labels = made.spec.template.metadata.labels
    assert labels["batch.kubernetes.io/job-name"] == made.metadata.name
    assert dict(made.spec.selector.match_labels) == {"batch.kubernetes.io/controller-uid": made.metadata.uid}
    made.spec.completions = 7
    with pytest.raises(errors.Invalid, match="field is immutable"):
        await client.update(made)


async def test_parts_of_pods_are_patched(client: Client) -> None:
    pod = corev1.Pod()
    pod.metadata.name, pod.metadata.namespace = "web", "default"
    pod.spec.containers.add(name="c", image="x").resources.requests["cpu"].string = "1"
    await client.create(pod)
    debugger = {"spec": {"ephemeralContainers": [{"name": "d", "image": "busybox"}]}}
    changed = await client.patch(corev1.Pod, "web", "default", debugger, subresource="ephemeralcontainers")
    assert changed.spec.ephemeral_containers[0].ephemeral_container_common.name == "d"
    bigger = {"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "2"}}}]}}
    changed = await client.patch(corev1.Pod, "web", "default", bigger, subresource="resize")
    assert changed.spec.containers[0].resources.requests["cpu"].string == "2"
    assert changed.metadata.generation == 3
    with pytest.raises(errors.Invalid, match="may not change fields other than"):
        await client.patch(corev1.Pod, "web", "default", {"spec": {"containers": [{"name": "c", "command": ["sh"]}]}})
