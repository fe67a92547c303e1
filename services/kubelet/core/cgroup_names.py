"""Where the control groups of Pods are: one group for all Pods, in it one a class, and one a Pod."""

import enum
from dataclasses import dataclass

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.qos import BEST_EFFORT, BURSTABLE, GUARANTEED, qos_class

ALL_PODS = "kubepods"
SLICE = ".slice"
POD = "pod"
# A Guaranteed Pod's group lies in that of all Pods.
CLASSES = (BURSTABLE, BEST_EFFORT)


class CgroupDriver(enum.StrEnum):
    """Who makes groups, and hence how they are named: by path, or as slices of systemd."""

    CGROUPFS = "cgroupfs"
    SYSTEMD = "systemd"


@dataclass(frozen=True, slots=True)
class CgroupNames:
    """root: the group above that of all Pods. per_qos: whether the kubelet makes groups at all."""

    root: str = "/"
    driver: CgroupDriver = CgroupDriver.CGROUPFS
    per_qos: bool = True

    @property
    def all_pods(self) -> str:
        """The path of the group above all Pods."""
        return self._path(ALL_PODS)

    def of_class(self, class_: str) -> str:
        """The path of the group above the Pods of a class."""
        return self._path(*_above(class_))

    def of_pod(self, pod: corev1.Pod) -> str:
        """The path of a Pod's group; "" where Pods have none of their own."""
        return self._path(*_above(qos_class(pod)), f"{POD}{pod.metadata.uid}") if self.per_qos else ""

    def of_uid(self, uid: str) -> list[str]:
        """The paths at which the group of a Pod can be of which no more is known than its uid."""
        return [self._path(*_above(class_), f"{POD}{uid}") for class_ in (GUARANTEED, *CLASSES)]

    def parent(self, pod: corev1.Pod) -> str:
        """A Pod's group as the runtime is told it: a path, or the name of a slice."""
        path = self.of_pod(pod) if self.per_qos else self._path()
        return path.rpartition("/")[2] if self.driver is CgroupDriver.SYSTEMD else path.rstrip("/")

    def uid_in(self, folder: str) -> str:
        """The uid of the Pod whose group has a folder of this name, as `as_written` gives it; "" for none's."""
        name = folder.removesuffix(SLICE).rpartition("-")[2] if self.driver is CgroupDriver.SYSTEMD else folder
        return name.removeprefix(POD) if name.startswith(POD) else ""

    def as_written(self, uid: str) -> str:
        """A uid as it stands in the name of a group."""
        return uid.replace("-", "_") if self.driver is CgroupDriver.SYSTEMD else uid

    def _path(self, *names: str) -> str:
        whole = [*filter(None, self.root.split("/")), *names]
        if self.driver is CgroupDriver.CGROUPFS:
            return f"/{'/'.join(whole)}"
        # "a-b.slice" lies in "a.slice", so that a name of its own has no hyphen.
        words = [name.removesuffix(SLICE).replace("-", "_") for name in whole]
        return "".join(f"/{'-'.join(words[:count])}{SLICE}" for count in range(1, len(words) + 1))


def _above(class_: str) -> tuple[str, ...]:
    return (ALL_PODS,) if class_ == GUARANTEED else (ALL_PODS, class_.lower())
