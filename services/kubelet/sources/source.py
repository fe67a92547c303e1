"""Where static Pods come from, and how they are read."""

import asyncio
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.static_pods import Unfit, static_pod


@dataclass(slots=True)
class Found:
    """What a source says at one time. pods: by namespace/name, None for those of before; faults: by their place."""

    pods: dict[str, corev1.Pod] | None
    faults: dict[str, str] = field(default_factory=dict)


class Source(Protocol):
    """One place that static Pods come from. check_s: how often it is looked at without being told to."""

    @property
    def check_s(self) -> float:
        """Seconds."""
        ...

    def changes(self) -> AbstractContextManager[asyncio.Event]:
        """An event that is set when it has something new; never, where it cannot tell."""
        ...

    async def read(self) -> Found:
        """What it says now."""
        ...


def read_manifest(text: str | bytes, place: str, node: str, kind: str) -> Found:
    """The static Pods of a manifest, JSON or YAML, of any number of Pods and lists of Pods."""
    # Reading manifests takes megabytes that a node without static Pods need not spend.
    from navarch.services.api import manifest

    pods: dict[str, corev1.Pod] = {}
    faults: dict[str, str] = {}
    for number, document in enumerate(manifest.load(text, place)):
        part = f"{place}#{number}"
        if document.error is not None:
            faults[part] = str(document.error)
        elif not isinstance(document.message, corev1.Pod):
            faults[part] = "only Pods can be static"
        else:
            try:
                pod = static_pod(document.message, node, place, kind)
            except Unfit as unfit:
                faults[part] = str(unfit)
            else:
                pods[f"{pod.metadata.namespace}/{pod.metadata.name}"] = pod
    return Found(pods, faults)
