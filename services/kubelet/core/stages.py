"""The stages of a Pod's life on this node, and the legal ways between them.

    New -> Starting -> Initializing -> Running -> Stopping -> Releasing -> Finished -> Gone
                                                                    (deleted) -> Gone

Starting: volumes and sandbox are being made. Resetting: all containers end, to start anew in the same sandbox,
with the same volumes. Stopping: no container may start any more, those alive are
being stopped. Releasing: nothing is alive, sandbox and volumes are given back. Finished: the Pod has run to
its end, its last containers are kept for their logs until it is deleted. Gone: nothing is left to do.
"""

from enum import StrEnum


class Stage(StrEnum):
    """Where a Pod stands on this node."""

    NEW = "New"
    REJECTED = "Rejected"
    STARTING = "Starting"
    INITIALIZING = "Initializing"
    RUNNING = "Running"
    RESETTING = "Resetting"
    STOPPING = "Stopping"
    RELEASING = "Releasing"
    FINISHED = "Finished"
    GONE = "Gone"


# After a restart of the kubelet a Pod enters at whatever stage reality is in, hence the many ways out of New.
TRANSITIONS: dict[Stage, frozenset[Stage]] = {
    Stage.NEW: frozenset(Stage) - {Stage.NEW},
    Stage.REJECTED: frozenset({Stage.STOPPING, Stage.RELEASING, Stage.GONE}),
    # A lost sandbox leads back to Starting; a Pod can end at any stage.
    Stage.STARTING: frozenset({Stage.INITIALIZING, Stage.RUNNING, Stage.RESETTING, Stage.STOPPING, Stage.RELEASING}),
    Stage.INITIALIZING: frozenset({Stage.STARTING, Stage.RUNNING, Stage.RESETTING, Stage.STOPPING, Stage.RELEASING}),
    Stage.RUNNING: frozenset({Stage.STARTING, Stage.INITIALIZING, Stage.RESETTING, Stage.STOPPING, Stage.RELEASING}),
    Stage.RESETTING: frozenset({Stage.STARTING, Stage.INITIALIZING, Stage.RUNNING, Stage.STOPPING, Stage.RELEASING}),
    # From Finished back to Stopping and again to its end: a container that nobody knew of turned up alive.
    Stage.STOPPING: frozenset({Stage.RELEASING, Stage.FINISHED, Stage.GONE}),
    Stage.RELEASING: frozenset({Stage.STOPPING, Stage.FINISHED, Stage.GONE}),
    Stage.FINISHED: frozenset({Stage.STOPPING, Stage.RELEASING, Stage.GONE}),
    Stage.GONE: frozenset(),
}


class IllegalTransition(Exception):
    """A Pod was about to take a way that the table does not have; its stage is unchanged."""

    def __init__(self, pod: str, source: Stage, target: Stage, history: tuple[str, ...]) -> None:
        super().__init__(f"{pod}: {source} -> {target} is no legal transition; so far: {' -> '.join(history)}")
        self.pod = pod
        self.source = source
        self.target = target
