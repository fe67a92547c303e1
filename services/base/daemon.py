"""The supervisor process: forks the services, starts them again when they end, stops them in order.

It imports each service's module and then forks a child that calls it, so that starting a service, also
again, costs a fork and no import, and all services share the memory of what they have in common. Therefore
nothing here may start a thread, a loop or a gRPC object; children may.

One thread, one blocking wait for signals: idle, it does not run at all. A child that ends is started again
at once, and ever later if it keeps ending early. Should the supervisor be killed, the kernel kills its
children (parent death signal). Containers are nobody's children here and go on.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, NoReturn

from navarch.services.base import log
from navarch.services.base.supervisor import (
    ChildStatus,
    CommandSpec,
    ServiceSpec,
    Spec,
    SupervisorError,
    load,
    lock,
)

SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
# The first restart is immediate, then 0.5 s, doubling; a child that lived for a while begins anew.
BACKOFF_BASE_S = 0.5
BACKOFF_MAX_S = 30.0
HEALTHY_S = 10.0
# A log beyond this is set aside, once, when its child starts.
LOG_BYTES = 32 << 20

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15


@dataclass(slots=True)
class Child:
    """A process that should run. due: when to start it again, while pid is 0 (monotonic seconds)."""

    spec: Spec
    pid: int = 0
    began: float = 0.0
    due: float = 0.0
    failures: int = 0
    restarts: int = -1
    last_exit: str = ""

    def ended(self, outcome: str, now: float) -> None:
        """Note its end, and when it is to run again."""
        if now - self.began >= HEALTHY_S:
            self.failures = 0
        backoff_s = min(BACKOFF_BASE_S * 2.0 ** (self.failures - 1), BACKOFF_MAX_S) if self.failures else 0.0
        self.failures += 1
        self.pid, self.due, self.last_exit = 0, now + backoff_s, outcome


class Supervisor:
    """Runs specs until told to stop."""

    def __init__(self, specs: Sequence[Spec], data_dir: Path, stop_child_s: float) -> None:
        self._children = [Child(spec) for spec in specs]
        self._data_dir = data_dir
        self._stop_child_s = stop_child_s
        self._stopping = False
        self._log = log.get_logger("supervisor")

    def start(self) -> None:
        """Start every child once: commands first, as they need nothing of us, then services as their imports end."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        for child in sorted(self._children, key=lambda child: isinstance(child.spec, ServiceSpec)):
            if isinstance(child.spec, ServiceSpec):
                importlib.import_module(child.spec.module.partition(":")[0])
            self._spawn(child)
        self._write_state()

    def run(self) -> None:
        """Start children again as they end, until SIGTERM or SIGINT."""
        while True:
            for child in self._children:
                if not child.pid and child.due <= time.monotonic():
                    self._spawn(child)
            self._write_state()
            received = self._wait()
            if received in (signal.SIGTERM, signal.SIGINT):
                return
            self._reap()

    def stop(self) -> None:
        """End the children in reverse order of their start; kill those that do not obey."""
        self._stopping = True
        for child in reversed(self._children):
            if child.pid:
                self._log.info("child.stopping", child=child.spec.name, pid=child.pid)
                os.kill(child.pid, signal.SIGTERM)
                self._await_end(child)
        self._write_state()

    def _await_end(self, child: Child) -> None:
        deadline = time.monotonic() + self._stop_child_s
        while True:
            self._reap()
            if not child.pid:
                return
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                self._log.warning("child.killed", child=child.spec.name, pid=child.pid)
                os.kill(child.pid, signal.SIGKILL)
                deadline = float("inf")
            signal.sigtimedwait({signal.SIGCHLD}, min(max(left_s, 0.1), 3600.0))

    def _wait(self) -> int | None:
        """The next signal, or None when a child is due."""
        dues = [child.due for child in self._children if not child.pid]
        if not dues:
            return signal.sigwait(SIGNALS)
        received = signal.sigtimedwait(SIGNALS, max(0.0, min(dues) - time.monotonic()))
        return received.si_signo if received else None

    def _reap(self) -> None:
        while True:
            try:
                pid, code = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for child in self._children:
                if child.pid == pid:
                    outcome = _outcome(code)
                    tell = self._log.info if self._stopping else self._log.warning
                    tell("child.ended", child=child.spec.name, pid=pid, outcome=outcome)
                    child.ended(outcome, time.monotonic())

    def _spawn(self, child: Child) -> None:
        # What is alive now will be alive in the child: moved out of the collector's sight, its pages stay shared.
        gc.collect()
        gc.freeze()
        supervisor = os.getpid()
        child.pid = os.fork()
        if child.pid == 0:
            self._become(child.spec, supervisor)
        child.began = time.monotonic()
        child.restarts += 1
        self._log.info("child.started", child=child.spec.name, pid=child.pid, restarts=child.restarts)

    def _become(self, spec: Spec, supervisor: int) -> NoReturn:
        """In the forked child: turn into the service or the command. Nothing may return from here."""
        code = 1
        try:
            _die_with_parent(supervisor)
            os.setsid()
            _redirect(self._data_dir / "logs" / f"{spec.name}.log")
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            if isinstance(spec, CommandSpec):
                # Python ignores it; other programs expect it as it is by default.
                signal.signal(signal.SIGPIPE, signal.SIG_DFL)
                os.execvpe(spec.argv[0], spec.argv, {**os.environ, **spec.env})
            _prctl(PR_SET_NAME, f"navarch-{spec.name}"[:15].encode())
            random.seed()
            module, _, function = spec.module.partition(":")
            getattr(importlib.import_module(module), function)(spec.argv)
            code = 0
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _write_state(self) -> None:
        children = [
            asdict(ChildStatus(child.spec.name, child.pid, max(child.restarts, 0), child.last_exit))
            for child in self._children
        ]
        path = self._data_dir / "run" / "supervisor.json"
        staging = path.with_suffix(".new")
        staging.write_text(json.dumps({"pid": os.getpid(), "children": children}, indent=1))
        staging.replace(path)


def _outcome(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


def _prctl(option: int, argument: int | bytes) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, argument, 0, 0, 0)


def _die_with_parent(parent: int) -> None:
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _redirect(log_file: Path) -> None:
    if log_file.exists() and log_file.stat().st_size > LOG_BYTES:
        log_file.replace(log_file.with_suffix(".log.1"))
    out = os.open(log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(out)
    os.close(null)


def main(data_dir: Path, report_fd: int, stop_child_s: float) -> None:
    """Detach, take the directory, run. Writes "ok" or the reason of a failure to report_fd."""
    specs = [load(raw) for raw in json.load(sys.stdin)]
    if os.fork():
        # Whoever started us waits for this process only.
        os._exit(0)
    os.setsid()
    os.chdir("/")
    log.configure(component="supervisor")
    _prctl(PR_SET_NAME, b"navarch")
    with os.fdopen(report_fd, "w") as report:
        os.set_inheritable(report_fd, False)
        try:
            with lock(data_dir):
                _supervise(Supervisor(specs, data_dir, stop_child_s), report)
        except SupervisorError as failure:
            report.write(str(failure))


def _supervise(supervisor: Supervisor, report: IO[str]) -> None:
    try:
        supervisor.start()
        report.write("ok")
        report.close()
        supervisor.run()
    except Exception as failure:
        log.get_logger("supervisor").exception("supervisor.failed")
        if not report.closed:
            report.write(f"cannot start: {type(failure).__name__}: {failure}")
        raise SystemExit(1) from failure
    finally:
        supervisor.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
