"""kubectl against one real cluster, which all tests of this folder share; each has a namespace of its own in it.

Cluster, namespace and the way to call kubectl are those of the tests of the client libraries; here they can also
run beside the test, apply objects and have a terminal.
"""

import contextlib
import fcntl
import importlib.util
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


def _loaded(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


TESTS = Path(__file__).parents[2]
clients = _loaded("kubectl_clients", TESTS / "e2e" / "clients" / "conftest.py")
image_archives, cluster, lab = clients.image_archives, clients.cluster, clients.lab
LATEST, NEXT = clients.real_cluster.IMAGES
ROWS, COLUMNS = 33, 111


class Kubectl(clients.Kubectl):  # type: ignore[misc, name-defined]
    """kubectl in the namespace of a test, by which objects are made from what would be in a manifest."""

    latest, next = LATEST, NEXT
    # `kubectl run` of an image that only the node has.
    image = (f"--image={LATEST}", "--image-pull-policy=IfNotPresent")

    @property
    def words(self) -> list[str]:
        """The command up to the verb."""
        return [str(clients.KUBECTL), f"--kubeconfig={self.lab.kubeconfig}", f"--namespace={self.lab.namespace}"]

    def apply(self, *documents: dict[str, Any]) -> str:
        """Apply manifests."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(documents)}
        return str(self("apply", "-f", "-", stdin=json.dumps(listed)))

    def json(self, *words: str) -> Any:
        """What `kubectl get` shows as JSON."""
        return json.loads(self("get", *words, "-o", "json"))

    def pod(self, name: str, *containers: dict[str, Any], **spec: Any) -> None:
        """Make a Pod of containers of the test's image, and wait until it is Ready."""
        full = [{"image": LATEST, "imagePullPolicy": "IfNotPresent", **one} for one in containers]
        metadata = {"name": name, "labels": {"app": name}}
        whole = {"terminationGracePeriodSeconds": 1, "containers": full, **spec}
        self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": whole})
        self("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")

    def deployment(self, name: str, replicas: int = 1, script: str = "exec sleep 1000", **container: Any) -> None:
        """Make a Deployment that runs a shell script, and wait until it is rolled out."""
        main = {"name": "main", "image": LATEST, "imagePullPolicy": "IfNotPresent", "command": ["sh", "-c", script]}
        template = {
            "metadata": {"labels": {"app": name}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [main | container]},
        }
        spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
        metadata = {"name": name, "labels": {"app": name}}
        self.apply({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
        self("rollout", "status", f"deployment/{name}", "--timeout=60s")

    @contextlib.contextmanager
    def beside(self, *words: str) -> Iterator["subprocess.Popen[str]"]:
        """A kubectl that goes on until the block ends. It is to be read from line by line."""
        with subprocess.Popen(
            [*self.words, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        ) as process:
            try:
                yield process
            finally:
                process.terminate()

    def in_terminal(self, *words: str) -> tuple[int, str]:
        """Run it in a terminal of ROWS and COLUMNS; how it ended, and what was on the screen."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", ROWS, COLUMNS, 0, 0))
        screen = b""
        with subprocess.Popen([*self.words, *words], stdin=theirs, stdout=theirs, stderr=theirs) as process:
            os.close(theirs)
            # The end of a terminal that nobody has open any more is an error.
            with contextlib.suppress(OSError):
                while data := os.read(ours, 4096):
                    screen += data
            os.close(ours)
            return process.wait(), screen.decode().replace("\r\n", "\n")


@pytest.fixture
def kubectl(lab: Any) -> Kubectl:
    """In the namespace of the test."""
    return Kubectl(lab)


@pytest.fixture
def every_kind(lab: Any) -> list[dict[str, Any]]:
    """A manifest of every kind that is stored, for the namespace of the test."""
    contract = _loaded("every_kind", TESTS / "contract" / "rest" / "conftest.py")
    space = b'"namespace":"%s"' % lab.namespace.encode()
    manifests = [json.loads(text.replace(b'"namespace":"default"', space)) for _, text in contract.documents()]
    for one in manifests:
        if one["kind"] == "Pod":
            # Or the ReplicaSet would adopt it, as one too many.
            del one["metadata"]["labels"]
    return manifests
