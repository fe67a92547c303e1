"""What a container may use."""

from navarch.protos.cri import v1_pb2 as criv1


def merge(resources: criv1.LinuxContainerResources, update: criv1.LinuxContainerResources) -> None:
    """Apply an update; what it does not name stays as it was. Lists are replaced, not added to."""
    if update.hugepage_limits:
        resources.ClearField("hugepage_limits")
    resources.MergeFrom(update)
