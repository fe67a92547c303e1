"""What the table of Pods makes of news in any order."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.kubelet.core.machine import PodMachine
from navarch.services.kubelet.core.orders import Event, PodChanged
from navarch.services.kubelet.core.view import View
from navarch.services.kubelet.pods import PodTable

from .conftest import START, a_pod


class Worker:
    """Has no orders carried out."""

    def __init__(self, pod: corev1.Pod) -> None:
        self.machine = PodMachine(pod)
        self.uid = pod.metadata.uid

    @property
    def view(self) -> View:
        return self.machine.view

    def tell(self, event: Event) -> None:
        self.machine.handle(event, START)


def sized(cpu: str, version: int) -> corev1.Pod:
    resources = {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}
    pod = a_pod(containers=[{"name": "main", "image": "a", "resources": resources}])
    pod.metadata.resource_version, pod.metadata.generation = str(version), version
    return pod


def a_node() -> corev1.Node:
    node = corev1.Node()
    for name, amount in (("cpu", "2"), ("memory", "1Gi"), ("pods", "110")):
        node.status.allocatable[name].string = amount
    return node


def table_with(pod: corev1.Pod) -> tuple[PodTable, Worker]:
    workers: list[Worker] = []

    def make(pod: corev1.Pod) -> Worker:
        workers.append(Worker(pod))
        return workers[-1]

    table = PodTable(make, lambda _: None, a_node)  # type: ignore[arg-type]
    table.changed(None, pod)
    return table, workers[0]


def test_a_resize_that_the_answer_to_a_report_told_first_is_judged() -> None:
    before = sized("100m", 1)
    table, worker = table_with(before)
    asked = sized("200m", 2)
    # The status of the same Pod, written after its spec had changed.
    answer = sized("200m", 3)
    worker.tell(PodChanged(answer))
    assert worker.view.asked is not None
    table.changed(before, asked)
    assert worker.view.asked is None
    assert worker.view.pod.spec.containers[0].resources.requests["cpu"].string == "200m"


def test_an_answer_that_comes_late_takes_nothing_back() -> None:
    _, worker = table_with(sized("100m", 10))
    newest = sized("100m", 12)
    newest.spec.ephemeral_containers.add().ephemeral_container_common.name = "debugger"
    worker.tell(PodChanged(newest))
    worker.tell(PodChanged(sized("100m", 11)))
    assert worker.view.container("debugger") is not None
