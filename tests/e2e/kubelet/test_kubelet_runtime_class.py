"""A Pod runs with the handler that its RuntimeClass names."""

from navarch.protos.k8s.node import v1_pb2 as nodev1
from navarch.services.api import codec
from navarch.testing.kubelet_lab import Lab
from navarch.testing.private_containerd import OTHER_HANDLER


async def test_a_runtime_class_chooses_the_handler(lab: Lab) -> None:
    api = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass"}
    name = f"class-of-{lab.namespace}"
    await lab.client.create(codec.from_json({**api, "metadata": {"name": name}, "handler": OTHER_HANDLER}))
    calls = lab.host.containerd.other_runc.parent / "calls"
    before = calls.read_text().count("create") if calls.exists() else 0
    await lab.create("classed", runtimeClassName=name)
    await lab.running("classed")
    assert calls.read_text().count("create") > before
    await lab.client.delete(nodev1.RuntimeClass, name)
