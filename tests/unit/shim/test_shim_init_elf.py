"""The init of shared PID namespaces: that it is a program, and does what it is for."""

import os
import struct
import subprocess
from pathlib import Path

import pytest

from navarch.runtime_shim.containerd import init_elf

IGNORES_SIGCHLD = 1 << (17 - 1)


@pytest.mark.parametrize(("machine", "number"), [("x86_64", 62), ("aarch64", 183), ("arm64", 183)])
def test_the_file(machine: str, number: int) -> None:
    program = init_elf.program(machine)
    assert program[:7] == b"\x7fELF\x02\x01\x01"
    kind, found, _, entry, headers = struct.unpack_from("<HHIQQ", program, 16)
    assert (kind, found, headers) == (2, number, 64)
    load, access, offset, address, _, file_bytes, memory_bytes, _ = struct.unpack_from("<IIQQQQQQ", program, headers)
    assert (load, access, offset) == (1, 5, 0)
    assert file_bytes == memory_bytes == len(program)
    assert entry == address + 64 + 56
    assert program.endswith(struct.pack("<4Q", 1, 0, 0, 0))


def test_no_other_processors() -> None:
    with pytest.raises(ValueError, match="s390x"):
        init_elf.program("s390x")


def test_the_words_of_aarch64() -> None:
    """What `as` makes of the source in the comments; the second word points to the last four doublewords."""
    program = init_elf.program("aarch64")[64 + 56 :]
    words = struct.unpack(f"<{(len(program) - 32) // 4}I", program[:-32])
    signal = (0xD2800220, 0x10000181, 0xD2800002, 0xD2800103, 0xD28010C8, 0xD4000001)
    wait = (0xD2800000, 0xD2800001, 0xD2800002, 0xD2800003, 0xD2800928, 0xD4000001, 0x17FFFFFA)
    assert words == signal + wait
    distance = (words[1] >> 5 & 0x7FFFF) * 4
    assert 4 + distance == len(program) - 32


def ignored_signals(pid: int) -> int:
    """Some may be inherited: whatever is started by nohup ignores SIGHUP."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("SigIgn:")).split()[1], 16)


def test_it_runs_here(tmp_path: Path) -> None:
    path = tmp_path / "init"
    path.write_bytes(init_elf.program(os.uname().machine))
    path.chmod(0o755)
    with subprocess.Popen([path]) as process:
        try:
            while not ignored_signals(process.pid) & IGNORES_SIGCHLD:
                assert process.poll() is None
            assert process.poll() is None
        finally:
            process.kill()
