"""The API server's own tests on the stores that they do not run on by default: three members on disk.

A part of them, for time; all: NAVARCH_TEST_STORE=navarch3 pytest tests/integration/apiserver.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1] / "integration" / "apiserver"
STORE = "navarch3"


@pytest.mark.parametrize("name", ["test_apiserver_reads.py", "test_apiserver_services.py", "test_apiserver_nodes.py"])
def test_the_api_server_passes_its_tests(name: str, tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", f"--basetemp={tmp_path}/inner", TESTS / name],
        env={**os.environ, "NAVARCH_TEST_STORE": STORE},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout[-5000:] + finished.stderr[-2000:]
    assert f"[{STORE}] PASSED" in finished.stdout
