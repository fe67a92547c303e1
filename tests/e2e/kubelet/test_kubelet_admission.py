"""Pods that the node does not take, though they are bound to it, and those that it takes."""

import itertools
from typing import Any

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.testing.kubelet_lab import Lab


def affinity(member: str, key: str, *values: str) -> dict[str, Any]:
    term = {member: [{"key": key, "operator": "In", "values": list(values)}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}


PORT = {"name": "main", "command": ["sleep", "3600"], "ports": [{"containerPort": 80, "hostPort": 18080}]}
CPUS = {"name": "main", "resources": {"requests": {"cpu": "900"}}}
AFFINITY = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
REFUSALS: dict[str, tuple[dict[str, Any], str, str]] = {
    "selector": ({"nodeSelector": {"disk": "none"}}, "NodeAffinity", AFFINITY),
    "terms": ({"affinity": affinity("matchExpressions", "disk", "none")}, "NodeAffinity", AFFINITY),
    "fields": ({"affinity": affinity("matchFields", "metadata.name", "elsewhere")}, "NodeAffinity", AFFINITY),
    "system": (
        {"os": {"name": "windows"}},
        "PodOSNotSupported",
        "Failed to admit pod as the OS field doesn't match node OS",
    ),
    "cpu": ({"containers": [CPUS]}, "OutOfcpu", "Node didn't have enough resource: cpu, requested: 900000, used: "),
    "port": (
        {"containers": [PORT]},
        "NodePorts",
        "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
    ),
}


async def test_refusals_name_what_does_not_fit(lab: Lab) -> None:
    await lab.create("first", containers=[PORT])
    await lab.running("first")
    for name, (spec, _, _) in REFUSALS.items():
        await lab.create(name, **spec)
    for name, (_, reason, message) in REFUSALS.items():
        pod = await lab.ended(name)
        assert (pod.status.phase, pod.status.reason) == ("Failed", reason), name
        assert pod.status.message.startswith(f"Pod was rejected: {message}")
        assert (await lab.event(name, reason)).startswith(message)


async def test_a_node_with_a_new_label_takes_pods_that_ask_for_it(lab: Lab) -> None:
    for number in range(5):
        labels = {"metadata": {"labels": {"number": str(number)}}}
        await lab.client.patch(corev1.Node, lab.node, "", labels, "merge")
        await lab.create(
            f"pod-{number}",
            nodeSelector={"number": str(number)},
            affinity=affinity("matchFields", "metadata.name", lab.node),
        )
        await lab.running(f"pod-{number}")


async def test_taints_keep_out_pods_that_do_not_tolerate_them(lab: Lab) -> None:
    def taint(*effects: str) -> dict[str, Any]:
        return {"spec": {"taints": [{"key": "why", "value": "test", "effect": effect} for effect in effects]}}

    await lab.client.patch(corev1.Node, lab.node, "", taint("NoSchedule"), "merge")
    await lab.create("unscheduled")
    await lab.running("unscheduled")
    await lab.client.patch(corev1.Node, lab.node, "", taint("NoExecute"), "merge")
    try:
        tolerated = [{"key": "why", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3600}]
        await lab.create("tolerant", tolerations=tolerated)
        await lab.running("tolerant")

        names = (f"intolerant-{number}" for number in itertools.count())

        async def refused() -> str:
            """The kubelet may hear of the Pod before it hears of the taint, and others may take the Pod away."""
            name = next(names)
            await lab.create(name)

            async def decided() -> tuple[str, str] | None:
                told = await lab.events(name)
                return next((event for event in told if event[0] in ("TaintToleration", "Started")), None)

            reason, message = await lab.eventually(decided) or ("", "")
            return message if reason == "TaintToleration" else ""

        message = await lab.eventually(refused)
        assert message.endswith("Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate")
    finally:
        await lab.client.patch(corev1.Node, lab.node, "", {"spec": {"taints": None}}, "merge")
