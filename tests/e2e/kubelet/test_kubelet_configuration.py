"""A kubelet that is told what it is by a file."""

from pathlib import Path

import yaml

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.pod_resources import amounts
from navarch.services.kubelet.configuration_file import TYPE_META
from navarch.testing.kubelet_lab import Lab

MIB = 1 << 20


async def test_a_configuration_file_and_options_that_win_over_it(lab: Lab, tmp_path: Path) -> None:
    path, folder = tmp_path / "kubelet.yaml", tmp_path / "kubelet.conf.d"
    path.write_text(
        yaml.safe_dump({**TYPE_META, "maxPods": 5, "kubeReserved": {"memory": "64Mi"}, "podsPerCore": 1000})
    )
    folder.mkdir()
    (folder / "10-more.conf").write_text(yaml.safe_dump({**TYPE_META, "maxPods": 7, "clusterDNS": ["10.9.8.7"]}))
    try:
        lab.kill_kubelet()
        await lab.start_kubelet(f"--config={path}", f"--config-dir={folder}", "--system-reserved=memory=32Mi")
        node = await lab.until(corev1.Node, lab.node, lambda node: node.status.capacity["pods"].string == "7", "")
        capacity, allocatable = amounts(node.status.capacity), amounts(node.status.allocatable)
        # The hard threshold of the lab's kubelets keeps 100Mi; what the host has as huge pages is counted as such.
        huge = sum(amount for name, amount in capacity.items() if name.startswith("hugepages-"))
        assert capacity["memory"] - allocatable["memory"] - huge == (64 + 32 + 100) * MIB

        await lab.create("web", dnsPolicy="ClusterFirst")
        await lab.running("web")
        assert "nameserver 10.9.8.7" in await lab.exec("web", "cat", "/etc/resolv.conf")
    finally:
        lab.kill_kubelet()
        await lab.start_kubelet()
    await lab.until(corev1.Node, lab.node, lambda node: node.status.capacity["pods"].string == "110", "")


async def test_the_runtime_is_told_the_pod_network_of_the_node(lab: Lab) -> None:
    node = await lab.until(corev1.Node, lab.node, lambda node: node.spec.pod_cidr, "")

    async def told() -> bool:
        return f"runtime.pod_cidr pod_cidr={node.spec.pod_cidr}" in lab.host.log(lab.runtime).read_text()

    await lab.eventually(told)
