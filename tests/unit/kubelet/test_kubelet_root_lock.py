"""Two kubelets cannot live in one directory."""

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


def test_a_second_one_is_told_who_lives_there_and_gets_in_when_that_was_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        lock = RootLock(tmp_path)
        with pytest.raises(RootInUse, match=f"pid {other.pid} lives in {tmp_path}; choose another --root-dir"):
            lock.acquire()
        other.kill()
        other.wait()
        lock.acquire()
        lock.release()
        lock.release()


def test_one_that_stops_in_order_lets_another_in(tmp_path: Path) -> None:
    lock = RootLock(tmp_path)
    lock.acquire()
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.run(
            [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.DEVNULL, check=True, capture_output=True
        )
    lock.release()
    subprocess.run([sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.DEVNULL, check=True)
