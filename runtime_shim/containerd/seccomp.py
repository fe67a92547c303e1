"""Which system calls a container may make: the filter of RuntimeDefault, and of profiles in files.

RuntimeDefault allows what programs need, and refuses, with EPERM, what concerns the whole host (modules, clocks,
mounts, keys, tracing of others), unless the container has the capability for it: then the kernel decides. Namespaces
are made by those alone who may do so anyway. clone3 says ENOSYS to the others: its flags lie in memory, where a filter
cannot look, and the C libraries fall back to clone.

Names that a kernel or libseccomp does not know are skipped, so the list may be ahead of them.
Format: the OCI runtime specification, config-linux, seccomp.
"""

import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import orjson

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.errors import InvalidArgument

Document = dict[str, Any]
# A profile is some kilobytes; a hostile file shall not fill the memory.
PROFILE_BYTES: Final = 4 << 20
_EPERM, _ENOSYS = 1, 38
# CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET: what makes namespaces.
_NEW_NAMESPACES: Final = 0x7E020000
# Linux as it is, with 32 bit addresses, with the name of Linux 2.6, both; 0xFFFFFFFF asks.
_PERSONALITIES: Final = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)

_FILES: Final = """
    access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2
    fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync
    fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate
    ftruncate64 futimesat getcwd getdents getdents64 getxattr getxattrat inotify_add_watch inotify_init inotify_init1
    inotify_rm_watch ioctl lchown lchown32 lgetxattr link linkat listmount listxattr listxattrat llistxattr _llseek
    lremovexattr lseek lsetxattr lstat lstat64 mkdir mkdirat mknod mknodat newfstatat open openat openat2 pread64
    preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv removexattr removexattrat rename
    renameat renameat2 rmdir sendfile sendfile64 setxattr setxattrat splice stat stat64 statfs statfs64 statmount statx
    symlink symlinkat sync sync_file_range syncfs tee truncate truncate64 umask unlink unlinkat utime utimensat
    utimensat_time64 utimes vmsplice write writev
"""
_MEMORY: Final = """
    brk cachestat madvise map_shadow_stack memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2 mprotect
    mremap mseal msync munlock munlockall munmap membarrier pkey_alloc pkey_free pkey_mprotect process_mrelease
    remap_file_pages
"""
_PROCESSES: Final = """
    alarm arch_prctl capget capset execve execveat exit exit_group fork get_robust_list get_thread_area getcpu getegid
    getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getpgid getpgrp getpid getppid getpriority
    getresgid getresgid32 getresuid getresuid32 getrlimit getrusage getsid gettid getuid getuid32 ioprio_get ioprio_set
    kill pause pidfd_open pidfd_send_signal prctl prlimit64 restart_syscall rseq rt_sigaction rt_sigpending
    rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
    sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr
    sched_setparam sched_setscheduler sched_yield seccomp set_robust_list set_thread_area set_tid_address setfsgid
    setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setpgid setpriority setregid setregid32
    setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setrlimit setsid setuid setuid32 sigaltstack
    signal sigaction signalfd signalfd4 sigpending sigprocmask sigreturn sigsuspend sysinfo tgkill times tkill
    ugetrlimit uname vfork wait4 waitid waitpid
    landlock_add_rule landlock_create_ruleset landlock_restrict_self lsm_get_self_attr lsm_list_modules
    lsm_set_self_attr
"""
_TIME: Final = """
    adjtimex clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
    clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time timer_create timer_delete
    timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime
    timerfd_gettime64 timerfd_settime timerfd_settime64
"""
_WAITING: Final = """
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd
    eventfd2 futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake io_cancel io_destroy io_getevents
    io_pgetevents io_pgetevents_time64 io_setup io_submit _newselect poll ppoll ppoll_time64 pselect6
    pselect6_time64 select
"""
_SOCKETS: Final = """
    accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64
    recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socket socketcall socketpair pipe pipe2
"""
_IPC: Final = """
    ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64
    mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget
"""
_RANDOM: Final = "getrandom"
_ALWAYS: Final = tuple(
    name for group in (_FILES, _MEMORY, _PROCESSES, _TIME, _WAITING, _SOCKETS, _IPC, _RANDOM) for name in group.split()
)
# Since Linux 4.8 a tracer cannot leave the filter by it; the pair copies memory of those whom one may trace.
_TRACING: Final = ("ptrace", "process_vm_readv", "process_vm_writev")
_OF_CAPABILITIES: Final = {
    "CAP_DAC_READ_SEARCH": "open_by_handle_at",
    "CAP_SYS_ADMIN": """
        bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount mount_setattr move_mount
        name_to_handle_at open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount
        umount2 unshare
    """,
    "CAP_BPF": "bpf",
    "CAP_PERFMON": "perf_event_open",
    "CAP_SYS_BOOT": "reboot",
    "CAP_SYS_CHROOT": "chroot",
    "CAP_SYS_MODULE": "delete_module init_module finit_module",
    "CAP_SYS_NICE": "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    "CAP_SYS_PACCT": "acct",
    "CAP_SYS_PTRACE": "kcmp pidfd_getfd process_madvise",
    "CAP_SYS_RAWIO": "iopl ioperm",
    "CAP_SYS_TIME": "settimeofday stime clock_settime clock_settime64",
    "CAP_SYS_TTY_CONFIG": "vhangup",
    "CAP_SYSLOG": "syslog",
}
_ARM: Final = "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls"
# Of a machine: its architectures, those of 32 bits whose programs it runs too, and calls that only it has.
_MACHINES: Final = {
    "x86_64": (("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"), "modify_ldt"),
    "i686": (("SCMP_ARCH_X86",), "modify_ldt"),
    "aarch64": (("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"), _ARM),
    "armv7l": (("SCMP_ARCH_ARM",), _ARM),
    "ppc64le": (("SCMP_ARCH_PPC64LE",), "sync_file_range2 swapcontext"),
    "s390x": (("SCMP_ARCH_S390X", "SCMP_ARCH_S390"), "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr"),
    "riscv64": (("SCMP_ARCH_RISCV64",), "riscv_flush_icache"),
}


def seccomp_of(
    security: criv1.LinuxContainerSecurityContext, capabilities: Iterable[str], machine: str = platform.machine()
) -> Document | None:
    """The filter of a container, None: it has none. capabilities: that it has. Raises InvalidArgument."""
    kinds = criv1.SecurityProfile.ProfileType
    if security.privileged:
        return None
    if security.HasField("seccomp"):
        kind, path = security.seccomp.profile_type, security.seccomp.localhost_ref
    else:
        kind, path = _legacy(security.seccomp_profile_path)
    if kind == kinds.Unconfined:
        return None
    return default_profile(capabilities, machine) if kind == kinds.RuntimeDefault else read_profile(path)


def _legacy(text: str) -> tuple["criv1.SecurityProfile.ProfileType", str]:
    """A profile as it was named before profiles had a message of their own."""
    kinds = criv1.SecurityProfile.ProfileType
    if text in ("", "unconfined"):
        return kinds.Unconfined, ""
    if text in ("runtime/default", "docker/default"):
        return kinds.RuntimeDefault, ""
    if text.startswith("localhost/"):
        return kinds.Localhost, text.removeprefix("localhost/")
    raise InvalidArgument(f"seccomp profile {text!r}: runtime/default, unconfined or localhost/PATH is accepted")


def read_profile(path: str) -> Document:
    """The profile in a file of the host. Raises InvalidArgument."""
    try:
        with Path(path).open("rb") as file:
            profile = orjson.loads(file.read(PROFILE_BYTES))
    except (OSError, ValueError) as failure:
        raise InvalidArgument(f"seccomp profile {path}: {failure}") from None
    if not isinstance(profile, dict) or "defaultAction" not in profile:
        raise InvalidArgument(f"seccomp profile {path}: it has no defaultAction")
    return profile


def default_profile(capabilities: Iterable[str], machine: str) -> Document:
    """The filter of RuntimeDefault for a container with these capabilities."""
    held = frozenset(capabilities)
    architectures, own = _MACHINES.get(machine, ((), ""))
    granted = (call for capability in sorted(held) for call in _OF_CAPABILITIES.get(capability, "").split())
    rules = [_allow((*_ALWAYS, *_TRACING, *own.split(), *granted))]
    for personality in _PERSONALITIES:
        rules.append(_allow(("personality",), {"index": 0, "value": personality, "op": "SCMP_CMP_EQ"}))
    if "CAP_SYS_ADMIN" not in held:
        # s390's clone has its arguments in another order.
        index = 1 if machine.startswith("s390") else 0
        no_namespaces = {"index": index, "value": _NEW_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
        rules.append(_allow(("clone",), no_namespaces))
        rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS})
    document: Document = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": _EPERM, "syscalls": rules}
    if architectures:
        document["architectures"] = list(architectures)
    return document


def _allow(names: Iterable[str], *args: Document) -> Document:
    rule: Document = {"names": list(dict.fromkeys(names)), "action": "SCMP_ACT_ALLOW"}
    return {**rule, "args": list(args)} if args else rule
