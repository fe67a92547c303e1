"""A probe's verdict: results go in, thresholds decide when it changes."""

from dataclasses import dataclass

from navarch.protos.k8s.core import v1_pb2 as corev1

DEFAULT_PERIOD_S, DEFAULT_TIMEOUT_S, DEFAULT_FAILURES = 10, 1, 3


@dataclass(slots=True)
class ProbeState:
    """Consecutive equal results of one probe of one run. `healthy` is None until the first verdict."""

    success_threshold: int
    failure_threshold: int
    healthy: bool | None = None
    _last: bool | None = None
    _run: int = 0

    @classmethod
    def of(cls, probe: corev1.Probe) -> "ProbeState":
        """With the thresholds of a probe's spec."""
        return cls(probe.success_threshold or 1, probe.failure_threshold or DEFAULT_FAILURES)

    def result(self, success: bool) -> bool:
        """Take in a result. Returns whether the verdict has changed."""
        self._run = self._run + 1 if success == self._last else 1
        self._last = success
        if self._run < (self.success_threshold if success else self.failure_threshold) or self.healthy == success:
            return False
        self.healthy = success
        return True
