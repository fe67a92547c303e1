"""The official JavaScript client, in Node.js: each flow of node/flows.js against the cluster."""

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.e2e.clients.conftest import Lab

SOURCE = Path(__file__).with_name("node")
BUILD = Path(__file__).parents[3] / "build" / "client-node"
PATIENCE_S = 120


@pytest.fixture(scope="session")
def flows_js() -> Path:
    """The flows with their packages, installed once for each state of the lock file, outside of the source tree."""
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in ("flows.js", "package.json", "package-lock.json"):
        shutil.copy(SOURCE / name, BUILD / name)
    installed = BUILD / "node_modules" / ".installed"
    wanted = hashlib.sha256((SOURCE / "package-lock.json").read_bytes()).hexdigest()
    if not installed.exists() or installed.read_text() != wanted:
        command = ["npm", "ci", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=BUILD, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        installed.write_text(wanted)
    return BUILD / "flows.js"


@pytest.mark.parametrize("flow", ["objects", "streams", "custom", "informer"])
def test_flow(lab: "Lab", flows_js: Path, flow: str) -> None:
    objects = {
        "namespace": lab.namespace,
        "group": lab.group,
        "configMap": lab.config_map(),
        "pod": lab.pod(),
        "definition": lab.definition(),
        "gadget": lab.gadget(),
    }
    done = subprocess.run(
        ["node", flows_js, flow],
        input=json.dumps(objects),
        env={**os.environ, "KUBECONFIG": lab.kubeconfig},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
