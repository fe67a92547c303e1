"""Ephemeral containers: run once beside the others, and told of in a list of their own."""

from collections.abc import Callable
from typing import Any

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.container_config import Image, Run, container_config
from navarch.services.kubelet.core.ephemeral import as_container, target_of
from navarch.services.kubelet.core.orders import Failed, PodChanged, Seen, StartContainer
from navarch.services.kubelet.core.references import NodeContext, references
from navarch.services.kubelet.core.stages import Stage
from navarch.services.kubelet.core.status import NodeFacts, pod_status

MakeNode = Callable[..., Any]
MakePod = Callable[..., corev1.Pod]
NODE = NodeFacts(("192.0.2.1",))


def with_debugger(pod: corev1.Pod, name: str = "debug", target: str = "") -> corev1.Pod:
    changed = corev1.Pod()
    changed.CopyFrom(pod)
    added = changed.spec.ephemeral_containers.add(target_container_name=target)
    added.ephemeral_container_common.name, added.ephemeral_container_common.image = name, "busybox:1"
    return changed


def status_of(up: Any) -> corev1.PodStatus:
    return pod_status(up.machine.view, NODE, up.now)


def test_it_is_started_beside_what_runs(node: MakeNode) -> None:
    up = node()
    up.tell(PodChanged(with_debugger(up.machine.view.pod)))
    assert up.started() == [("main", 0), ("debug", 0)]
    (entry,) = status_of(up).ephemeral_container_statuses
    assert (entry.name, entry.ready, entry.HasField("started")) == ("debug", False, False)
    assert entry.state.HasField("running")
    assert [one.name for one in status_of(up).container_statuses] == ["main"]


@pytest.mark.parametrize("code", [0, 1])
def test_it_is_never_started_again(node: MakeNode, code: int) -> None:
    up = node()
    up.tell(PodChanged(with_debugger(up.machine.view.pod)))
    up.exit("debug", code)
    up.pass_time(10_000)
    assert up.started() == [("main", 0), ("debug", 0)]
    status = status_of(up)
    assert status.ephemeral_container_statuses[0].state.terminated.exit_code == code
    assert (status.phase, up.stage) == ("Running", Stage.RUNNING)


def test_a_kubelet_that_starts_anew_does_not_repeat_it(node: MakeNode, fresh_node: MakeNode) -> None:
    up = node()
    up.tell(PodChanged(with_debugger(up.machine.view.pod)))
    up.exit("debug", 0)
    pod = corev1.Pod()
    pod.CopyFrom(up.machine.view.pod)
    pod.status.CopyFrom(status_of(up))
    again = fresh_node(pod)
    known = up.machine.view.runtime
    again.tell(Seen((*known.sandboxes.values(), *(run for run in known.containers.values() if run.name == "main"))))
    again.begin()
    assert again.started() == []


def test_it_does_not_keep_a_pod_from_its_end(node: MakeNode) -> None:
    up = node(restartPolicy="Never")
    up.tell(PodChanged(with_debugger(up.machine.view.pod)))
    up.exit("main", 0)
    assert up.stage is Stage.FINISHED
    assert status_of(up).phase == "Succeeded"


def test_a_start_that_fails_says_why_and_is_tried_again(node: MakeNode) -> None:
    up = node()
    up.refuse["start"] = ("CreateContainerConfigError", "unable to find target container none")
    up.tell(PodChanged(with_debugger(up.machine.view.pod, target="none")))
    waiting = status_of(up).ephemeral_container_statuses[0].state.waiting
    assert (waiting.reason, waiting.message) == up.refuse.pop("start")
    up.sleep_until_woken()
    assert up.started()[-1] == ("debug", 0)
    assert status_of(up).ephemeral_container_statuses[0].state.HasField("running")
    assert all(not isinstance(order, Failed) for order in up.orders(StartContainer))


def test_targets(pod: MakePod) -> None:
    made = with_debugger(pod(), target="main")
    assert target_of(made, "debug") == "main"
    assert target_of(made, "main") == ""


class Nothing:
    """No objects."""

    def config_map(self, namespace: str, name: str) -> None:
        return None

    def secret(self, namespace: str, name: str) -> None:
        return None

    def services(self) -> list[corev1.Service]:
        return []


@pytest.mark.parametrize(("target", "mode"), [("", criv1.CONTAINER), ("abc", criv1.TARGET)])
def test_it_joins_the_processes_of_its_target(pod: MakePod, target: str, mode: int) -> None:
    made = with_debugger(pod())
    run = Run(0, Image("sha256:1"), (), (), target)
    container = as_container(made.spec.ephemeral_containers[0])
    config = container_config(made, container, run, Nothing(), NodeContext("n1", (), 1000, 1 << 30))
    options = config.linux.security_context.namespace_options
    assert (options.pid, options.target_id) == (mode, target)


def test_what_it_names_counts_as_a_reference(pod: MakePod) -> None:
    made = with_debugger(pod())
    source = made.spec.ephemeral_containers[0].ephemeral_container_common.env_from.add()
    source.secret_ref.local_object_reference.name = "secret"
    assert references(made) == {("Secret", "secret")}
