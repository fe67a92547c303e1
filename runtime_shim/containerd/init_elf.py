"""The program that is process 1 where the containers of a Pod share a PID namespace.

It must be there for as long as the sandbox is, and take in orphans: with SIGCHLD ignored the kernel reaps them by
itself (sigaction(2), "SA_NOCLDWAIT"), so all that is left to do is to wait for ever. Process 1 of a namespace gets
no signal from within that it doesn't handle; SIGKILL from outside ends it, and with it all processes of the Pod.

Two system calls need neither a compiler nor an image: the program is written here, instruction by instruction,
for the architectures that we run on. Pure.
"""

import struct

SIGCHLD = 17
# struct sigaction of the kernel: handler (1: SIG_IGN), flags, restorer, mask. The mask is 8 bytes long.
IGNORE = struct.pack("<4Q", 1, 0, 0, 0)
MASK_BYTES = 8
# ELF: identification of a little-endian 64-bit program, and the numbers of the machines.
IDENTITY = b"\x7fELF" + bytes((2, 1, 1)) + bytes(9)
X86_64, AARCH64 = 62, 183
HEADER_BYTES, PROGRAM_HEADER_BYTES = 64, 56
LOAD, READ_EXECUTE, PAGE_BYTES = 1, 5, 0x1000
ADDRESS = 0x400000


def program(machine: str) -> bytes:
    """The executable for `machine` as uname names it. Raises ValueError for one that it isn't written for."""
    if machine == "x86_64":
        return _executable(X86_64, _x86_64())
    if machine in ("aarch64", "arm64"):
        return _executable(AARCH64, _aarch64())
    raise ValueError(f"no init for processors of the kind {machine}")


def _x86_64() -> bytes:
    ignore = b"".join(
        (
            b"\xb8" + struct.pack("<I", 13),  # mov eax, rt_sigaction
            b"\xbf" + struct.pack("<I", SIGCHLD),  # mov edi, SIGCHLD
            b"\x48\x8d\x35" + struct.pack("<i", 19),  # lea rsi, [rip + 19]: IGNORE, behind what follows
            b"\x31\xd2",  # xor edx, edx: what it was before is of no interest
            b"\x41\xba" + struct.pack("<I", MASK_BYTES),  # mov r10d, MASK_BYTES
            b"\x0f\x05",  # syscall
        )
    )
    wait = b"\xb8" + struct.pack("<I", 34) + b"\x0f\x05"  # mov eax, pause; syscall
    return ignore + wait + b"\xeb" + struct.pack("<b", -(len(wait) + 2)) + IGNORE  # jmp wait


def _aarch64() -> bytes:
    def move(register: int, value: int) -> int:
        return 0xD2800000 | value << 5 | register  # movz x<register>, #value

    call = 0xD4000001  # svc #0
    # There is no pause; ppoll of nothing without a limit is the same. Its result replaces x0, hence all anew.
    wait = [*(move(register, 0) for register in range(4)), move(8, 73), call]
    jump = 0x14000000 | -len(wait) & 0x3FFFFFF  # b wait
    # adr x1, IGNORE: it lies behind this and four more instructions, the loop, and its jump.
    words_ahead = 5 + len(wait) + 1
    address = 0x10000000 | words_ahead << 5 | 1
    ignore = [move(0, SIGCHLD), address, move(2, 0), move(3, MASK_BYTES), move(8, 134), call]
    words = [*ignore, *wait, jump]
    return struct.pack(f"<{len(words)}I", *words) + IGNORE


def _executable(machine: int, code: bytes) -> bytes:
    """An ELF file of one segment: the headers and the code behind them, readable and executable."""
    start = HEADER_BYTES + PROGRAM_HEADER_BYTES
    size = start + len(code)
    kind, version, sections = 2, 1, (64, 0, 0)
    header = IDENTITY + struct.pack("<HHI", kind, machine, version)
    header += struct.pack("<QQQ", ADDRESS + start, HEADER_BYTES, 0)
    header += struct.pack("<IHHHHHH", 0, HEADER_BYTES, PROGRAM_HEADER_BYTES, 1, *sections)
    segment = struct.pack("<IIQQQQQQ", LOAD, READ_EXECUTE, 0, ADDRESS, ADDRESS, size, size, PAGE_BYTES)
    return header + segment + code
