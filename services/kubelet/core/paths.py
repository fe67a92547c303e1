"""Where a Pod's files are on the node."""

from dataclasses import dataclass
from pathlib import PurePosixPath

from navarch.protos.k8s.core import v1_pb2 as corev1


@dataclass(frozen=True, slots=True)
class Layout:
    """Directories below the kubelet's root."""

    root: PurePosixPath

    @property
    def pods(self) -> PurePosixPath:
        """One directory for each Pod, by uid."""
        return self.root / "pods"

    @property
    def logs(self) -> PurePosixPath:
        """Container logs of all Pods."""
        return self.root / "logs"

    def pod(self, uid: str) -> PurePosixPath:
        """Everything of one Pod but its logs."""
        return self.pods / uid

    def volumes(self, uid: str) -> PurePosixPath:
        """The Pod's volumes, by kind and name."""
        return self.pod(uid) / "volumes"

    def volume(self, uid: str, kind: str, name: str) -> PurePosixPath:
        """One volume. kind: "empty-dir", "configmap", ..."""
        return self.volumes(uid) / f"kubernetes.io~{kind}" / name

    def hosts(self, uid: str) -> PurePosixPath:
        """The Pod's /etc/hosts."""
        return self.pod(uid) / "etc-hosts"

    def termination_message(self, uid: str, container: str, attempt: int) -> PurePosixPath:
        """What one run of a container leaves as its last words."""
        return self.pod(uid) / "containers" / container / str(attempt)

    def log_directory(self, pod: corev1.Pod) -> PurePosixPath:
        """The Pod's logs."""
        return self.logs / f"{pod.metadata.namespace}_{pod.metadata.name}_{pod.metadata.uid}"

    def log_file(self, pod: corev1.Pod, container: str, attempt: int) -> PurePosixPath:
        """The log of one run of a container."""
        return self.log_directory(pod) / log_path(container, attempt)


def log_path(container: str, attempt: int) -> str:
    """A log, below the Pod's log directory."""
    return f"{container}/{attempt}.log"
