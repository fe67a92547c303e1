"""Volumes of every kind as containers see them."""

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api import codec
from navarch.services.api.pod_resources import amounts
from navarch.services.base.tls import CertificateAuthority
from navarch.testing.kubelet_lab import Lab, is_ready


def sleeper(*mounts: dict[str, Any], name: str = "main", **more: Any) -> dict[str, Any]:
    return {"name": name, "command": ["sleep", "3600"], "volumeMounts": list(mounts), **more}


def mount(name: str, path: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "mountPath": path, **more}


async def test_files_of_objects_with_their_modes_owners_and_updates(lab: Lab) -> None:
    config: Any = await lab.make(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "config"}, "data": {"a": "1", "b": "2"}}
    )
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "secret"}, "stringData": {"password": "s3"}}
    await lab.make(secret)
    fields = [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
    token = {"path": "token", "audience": "vault", "expirationSeconds": 600}
    sources = [{"configMap": {"name": "config"}}, {"serviceAccountToken": token}]
    await lab.create(
        "files",
        labels={"color": "red"},
        securityContext={"fsGroup": 4321, "runAsUser": 1234},
        containers=[
            sleeper(
                mount("config", "/config"),
                mount("config", "/part", subPath="a"),
                mount("secret", "/secret"),
                mount("all", "/all"),
                mount("down", "/down"),
            )
        ],
        volumes=[
            {"name": "config", "configMap": {"name": "config", "defaultMode": 0o640}},
            {"name": "secret", "secret": {"secretName": "secret", "items": [{"key": "password", "path": "x/p"}]}},
            {"name": "all", "projected": {"sources": sources}},
            {"name": "down", "downwardAPI": {"items": fields}},
        ],
    )
    pod = await lab.running("files")
    assert await lab.exec("files", "cat", "/config/a", "/secret/x/p", "/down/labels", "/part") == '1s3color="red"1'
    assert (await lab.exec("files", "stat", "-Lc", "%a %g", "/config/a")).split() == ["640", "4321"]
    assert (await lab.exec("files", "stat", "-fc", "%T", "/secret")).strip() == "tmpfs"
    assert (await lab.exec("files", "stat", "-Lc", "%a %u %g", "/all/token")).split() == ["640", "1234", "4321"]
    claims = (await lab.exec("files", "cat", "/all/token")).split(".")[1]
    told = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    assert told["aud"] == ["vault"]
    assert told["kubernetes.io"]["pod"] == {"name": "files", "uid": pod.metadata.uid}

    config.data["a"] = "9"
    await lab.client.update(config)

    async def is_new() -> bool:
        return await lab.exec("files", "cat", "/config/a", "/all/a") == "99"

    await lab.eventually(is_new)
    assert await lab.exec("files", "cat", "/part") == "1"


async def test_trust_anchors_of_the_cluster_are_renewed(lab: Lab) -> None:
    first, second = (CertificateAuthority.create(name, time.time()).cert_pem.decode() for name in ("one", "two"))
    domain = f"{lab.namespace}.example.com"
    document = {
        "apiVersion": "certificates.k8s.io/v1beta1",
        "kind": "ClusterTrustBundle",
        "metadata": {"name": f"{domain}:s:web", "labels": {"app": "web"}},
        "spec": {"signerName": f"{domain}/s", "trustBundle": f"# ours\n{first}"},
    }
    bundle: Any = await lab.client.create(codec.from_json(document, strict=True))
    by_label = {"signerName": f"{domain}/s", "labelSelector": {"matchLabels": {"app": "web"}}}
    sources = [
        {"clusterTrustBundle": {"name": f"{domain}:s:web", "path": "by/name"}},
        {"clusterTrustBundle": {**by_label, "path": "by/signer"}},
        {"clusterTrustBundle": {"name": "absent", "path": "absent", "optional": True}},
    ]
    try:
        await lab.create(
            "trusts",
            containers=[sleeper(mount("trust", "/trust"))],
            volumes=[{"name": "trust", "projected": {"sources": sources}}],
        )
        await lab.running("trusts")
        assert await lab.exec("trusts", "cat", "/trust/by/name", "/trust/absent") == first
        bundle.spec.trust_bundle = second + first
        await lab.client.update(bundle)
        both = "".join(sorted((first, second)))

        async def is_renewed() -> bool:
            return await lab.exec("trusts", "cat", "/trust/by/name", "/trust/by/signer") == both * 2

        await lab.eventually(is_renewed)
    finally:
        await lab.client.delete(type(bundle), bundle.metadata.name)


async def is_absent(lab: Lab, path: Path) -> None:
    async def absent() -> bool:
        return not path.exists()

    await lab.eventually(absent, f"{path} is gone")


async def test_a_pod_that_has_ended_gives_its_volumes_back(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "secret"}, "stringData": {"a": "1"}}
    await lab.make(secret)
    volumes = [
        {"name": "disk", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory"}},
        {"name": "secret", "secret": {"secretName": "secret"}},
        {"name": "host", "hostPath": {"path": str(tmp_path)}},
    ]
    script = "echo said; echo last words > /dev/termination-log; echo x > /disk/x; echo x > /disk-of/y"
    mounts = [mount(volume["name"], f"/{volume['name']}") for volume in volumes]
    await lab.create(
        "ends",
        restartPolicy="Never",
        containers=[sleeper(*mounts, mount("disk", "/disk-of", subPath="of"), command=["sh", "-c", script])],
        volumes=volumes,
    )
    pod = await lab.ended("ends")
    directory = lab.host.root_dir(lab.runtime) / "pods" / pod.metadata.uid
    await is_absent(lab, directory / "volumes")
    lab.kill_kubelet()
    await lab.start_kubelet()
    assert await lab.said("ends", "said")
    pod = await lab.when("ends", lambda _: True)
    state = pod.status.container_statuses[0].state.terminated
    assert (pod.status.phase, state.message) == ("Succeeded", "last words\n")
    assert [path.name for path in directory.glob("volume*")] == []
    assert f"/pods/{pod.metadata.uid}/" not in Path("/proc/self/mountinfo").read_text()
    assert (tmp_path / "kept").read_text() == "kept"
    await lab.delete("ends")
    await lab.gone("ends")
    await is_absent(lab, directory)


async def test_what_is_immutable_is_read_once(lab: Lab) -> None:
    async def make(text: str) -> None:
        for kind, field in (("ConfigMap", "data"), ("Secret", "stringData")):
            metadata = {"name": kind.lower()}
            await lab.make(
                {"apiVersion": "v1", "kind": kind, "metadata": metadata, "immutable": True, field: {"a": text}}
            )

    async def create(name: str) -> None:
        reference = {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "configmap", "key": "a"}}}
        script = "echo $A $(cat /secret/a); until [ -e /tmp/end ]; do sleep 0.1; done; false"
        await lab.create(
            name,
            restartPolicy="OnFailure",
            containers=[sleeper(mount("secret", "/secret"), env=[reference], command=["sh", "-c", script])],
            volumes=[{"name": "secret", "secret": {"secretName": "secret"}}],
        )
        await lab.running(name)

    await make("old")
    await create("first")
    for kind in (corev1.ConfigMap, corev1.Secret):
        await lab.client.delete(kind, kind.__name__.lower(), lab.namespace)
    await make("new")
    await lab.exec("first", "touch", "/tmp/end")
    await lab.when("first", lambda pod: is_ready(pod) and pod.status.container_statuses[0].restart_count)
    assert await lab.said("first", "old old") == "old old\n"
    await lab.delete("first")
    await lab.gone("first")
    await create("second")
    assert await lab.said("second", "new new") == "new new\n"


async def test_directories_of_the_pod_and_of_the_node(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    await lab.create(
        "directories",
        securityContext={"fsGroup": 4321},
        containers=[
            sleeper(
                mount("memory", "/memory"),
                mount("disk", "/disk"),
                mount("disk", "/disk-of", subPathExpr="of/$(WHO)"),
                mount("host", "/host", readOnly=True),
                env=[{"name": "WHO", "value": "me"}],
                resources={"limits": {"memory": "64Mi"}},
            )
        ],
        volumes=[
            {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}},
            {"name": "disk", "emptyDir": {}},
            {"name": "host", "hostPath": {"path": str(tmp_path), "type": "Directory"}},
        ],
    )
    await lab.running("directories")
    assert "8.0M" in await lab.exec("directories", "df", "-h", "/memory")
    await lab.exec("directories", "sh", "-c", "echo x > /disk-of/file && cat /disk/of/me/file")
    assert (await lab.exec("directories", "stat", "-c", "%a %g", "/disk")).split() == ["2777", "4321"]
    assert await lab.exec("directories", "ls", "/host") == "there\n"
    refused = await lab.exec("directories", "sh", "-c", "touch /host/x 2>&1 || true")
    assert "Read-only" in refused


async def claimed(lab: Lab, name: str, source: dict[str, Any], **spec: Any) -> None:
    """A claim that is bound to a PersistentVolume, as the binder leaves them."""
    claim: Any = await lab.make(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
                "volumeName": f"{lab.namespace}-{name}",
                "storageClassName": "",
            },
        }
    )
    reference = {"namespace": lab.namespace, "name": name, "uid": claim.metadata.uid}
    node = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [lab.node]}]}
    volume = codec.from_json(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"{lab.namespace}-{name}"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "capacity": {"storage": "1Gi"},
                "claimRef": reference,
                "nodeAffinity": {"required": {"nodeSelectorTerms": [node]}},
                **source,
                **spec,
            },
        }
    )
    await lab.client.create(volume)
    claim.status.phase = "Bound"
    await lab.client.update_status(claim)


async def test_persistent_volumes_by_their_claims(lab: Lab, tmp_path: Path) -> None:
    for name in ("local", "host"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "kept").write_text(name)
    volumes = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in ("local", "host")]
    await lab.create(
        "claims",
        securityContext={"fsGroup": 4321},
        containers=[sleeper(mount("local", "/local"), mount("host", "/host"))],
        volumes=volumes,
    )
    assert "not found" in await lab.event("claims", "FailedMount")
    await claimed(lab, "local", {"local": {"path": str(tmp_path / "local")}})
    await claimed(lab, "host", {"hostPath": {"path": str(tmp_path / "host")}})
    pod = await lab.running("claims")
    assert await lab.exec("claims", "cat", "/local/kept", "/host/kept") == "localhost"
    assert (tmp_path / "local" / "kept").stat().st_gid == 4321
    await lab.exec("claims", "sh", "-c", "echo new > /local/file")
    lab.kill_kubelet()
    await lab.start_kubelet()
    await lab.delete("claims")
    await lab.gone("claims")
    # The Pod has gone, and its data has not.
    assert (tmp_path / "local" / "file").read_text() == "new\n"

    async def unmounted() -> bool:
        table = Path("/proc/self/mountinfo").read_text()
        return f"{lab.host.root_dir(lab.runtime)}/pods/{pod.metadata.uid}" not in table

    await lab.eventually(unmounted)
    for name in ("local", "host"):
        await lab.client.delete(corev1.PersistentVolume, f"{lab.namespace}-{name}")


@pytest.fixture
def huge_pages() -> Iterator[None]:
    """Four huge pages on the host."""
    setting = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
    before = setting.read_text()
    setting.write_text("4")
    try:
        assert setting.read_text() == "4\n"
        yield
    finally:
        setting.write_text(before)


@pytest.mark.usefixtures("huge_pages")
async def test_huge_pages(lab: Lab) -> None:
    lab.kill_kubelet()
    await lab.start_kubelet()

    def has_pages(node: corev1.Node) -> bool:
        return amounts(node.status.allocatable).get("hugepages-2Mi") == 8 << 20

    await lab.until(corev1.Node, lab.node, has_pages, "")
    limits = {"limits": {"hugepages-2Mi": "4Mi", "memory": "32Mi"}}
    volumes = [
        {"name": "any", "emptyDir": {"medium": "HugePages"}},
        {"name": "sized", "emptyDir": {"medium": "HugePages-2Mi"}},
    ]
    mounts = [mount("any", "/any"), mount("sized", "/sized")]
    await lab.create("huge", containers=[sleeper(*mounts, resources=limits)], volumes=volumes)
    pod = await lab.running("huge")
    lines = (await lab.exec("huge", "cat", "/proc/mounts")).splitlines()
    for path in ("/any", "/sized"):
        kind, options = next(line.split()[2:4] for line in lines if line.split()[1] == path)
        assert kind == "hugetlbfs"
        assert "pagesize=2M" in options.split(",")
    await lab.create("greedy", containers=[sleeper(resources={"limits": {"hugepages-2Mi": "6Mi", "memory": "32Mi"}})])
    assert (await lab.ended("greedy")).status.reason == "OutOfhugepages-2Mi"
    await lab.delete("huge")
    await lab.gone("huge")
    await is_absent(lab, lab.host.root_dir(lab.runtime) / "pods" / pod.metadata.uid)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[str]:
    """A block device of 1 MiB."""
    file = tmp_path / "disk"
    file.write_bytes(b"from the host".ljust(1 << 20, b"\0"))
    made = subprocess.run(["losetup", "-f", "--show", file], check=True, capture_output=True, text=True).stdout.strip()
    try:
        yield made
    finally:
        subprocess.run(["losetup", "-d", made], check=True)


async def test_a_volume_that_is_a_block_device(lab: Lab, device: str, tmp_path: Path) -> None:
    await claimed(lab, "disk", {"local": {"path": device}}, volumeMode="Block")
    await claimed(lab, "folder", {"hostPath": {"path": str(tmp_path)}}, volumeMode="Block")
    for name, claim in (("raw", "disk"), ("none", "folder")):
        script = "head -c 13 /dev/xvda && echo written | dd of=/dev/xvda conv=notrunc,fsync 2>&1; sleep 3600"
        devices = [{"name": "v", "devicePath": "/dev/xvda"}]
        await lab.create(
            name,
            containers=[sleeper(command=["sh", "-c", script], volumeDevices=devices)],
            volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": claim}}],
        )
    pod = await lab.running("raw")
    assert await lab.said("raw", "0+1 records out")
    assert (await lab.logs("raw")).startswith("from the host")
    assert Path(device).read_bytes().startswith(b"written\n")
    assert "cannot be had as block devices" in await lab.event("none", "FailedMount")
    await lab.delete("raw")
    await lab.gone("raw")
    assert Path(device).is_block_device()
    await is_absent(lab, lab.host.root_dir(lab.runtime) / "pods" / pod.metadata.uid)
    for name in ("disk", "folder"):
        await lab.client.delete(corev1.PersistentVolume, f"{lab.namespace}-{name}")


async def test_volumes_of_another_node_are_not_mounted(lab: Lab, tmp_path: Path) -> None:
    elsewhere = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["elsewhere"]}]}
    affinity = {"required": {"nodeSelectorTerms": [elsewhere]}}
    await claimed(lab, "far", {"local": {"path": str(tmp_path)}}, nodeAffinity=affinity)
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "far"}}]
    await lab.create("far", containers=[sleeper(mount("v", "/v"))], volumes=volumes)
    words = f'MountVolume.NodeAffinity check failed for volume "{lab.namespace}-far" : no matching NodeSelectorTerms'
    assert await lab.event("far", "FailedMount") == words
    await lab.client.delete(corev1.PersistentVolume, f"{lab.namespace}-far")


async def test_volumes_that_are_not_to_be_had_say_why(lab: Lab) -> None:
    cases = {
        "missing": ({"configMap": {"name": "missing"}}, 'configmap "missing" not found'),
        "wrong": ({"hostPath": {"path": "/etc/hostname", "type": "Directory"}}, "hostPath type check failed"),
        "foreign": ({"iscsi": {"targetPortal": "192.0.2.1", "iqn": "iqn.2001-04.com.example:a", "lun": 0}}, "iscsi"),
    }
    for name, (source, _) in cases.items():
        await lab.create(name, containers=[sleeper(mount("v", "/v"))], volumes=[{"name": "v", **source}])
    for name, (_, words) in cases.items():
        assert words in await lab.event(name, "FailedMount")
