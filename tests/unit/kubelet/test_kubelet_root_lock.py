"""Two kubelets cannot live in one directory."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from navarch.services.kubelet.root_lock import RootInUse, RootLock

HOLD = """
import sys
from pathlib import Path
from navarch.services.kubelet.root_lock import RootLock
lock = RootLock(Path(sys.argv[1]))
lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_one_is_told_who_lives_there(tmp_path: Path) -> None:
    first, second = RootLock(tmp_path), RootLock(tmp_path)
    first.acquire()
    with pytest.raises(RootInUse, match=f"pid {os.getpid()} lives in {tmp_path}; choose another --root-dir"):
        second.acquire()
    first.release()
    first.release()
    second.acquire()
    second.release()


def test_one_that_was_killed_leaves_the_directory_free(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        lock = RootLock(tmp_path)
        with pytest.raises(RootInUse, match=f"pid {other.pid} "):
            lock.acquire()
        other.kill()
        other.wait()
        lock.acquire()
        lock.release()
