"""Lists that are answered from memory until something changes."""

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.lists import FILTERS, ListAnswers


class Containers:
    """Counts how often it is asked."""

    def __init__(self) -> None:
        self.made = 0

    def listed(self, wanted: criv1.ContainerFilter) -> criv1.ListContainersResponse:
        self.made += 1
        return criv1.ListContainersResponse(containers=[criv1.Container(id=f"{wanted.id}{self.made}")])


def ids(answer: criv1.ListContainersResponse) -> list[str]:
    return [one.id for one in answer.containers]


def test_an_answer_lasts_until_the_next_change() -> None:
    source = Containers()
    lists = ListAnswers(source.listed)
    everything, some = criv1.ContainerFilter(), criv1.ContainerFilter(id="a")
    assert ids(lists.get(everything, 0)) == ids(lists.get(everything, 0)) == ["1"]
    assert ids(lists.get(some, 0)) == ["a2"]
    assert ids(lists.get(everything, 0)) == ["1"]
    assert ids(lists.get(everything, 1)) == ["3"]
    assert ids(lists.get(some, 1)) == ["a4"]


def test_labels_in_any_order_are_the_same_filter() -> None:
    source = Containers()
    lists = ListAnswers(source.listed)
    for labels in ({"a": "1", "b": "2"}, {"b": "2", "a": "1"}):
        lists.get(criv1.ContainerFilter(label_selector=labels), 0)
    assert source.made == 1


def test_clients_with_ever_new_filters_do_not_fill_the_memory() -> None:
    source = Containers()
    lists = ListAnswers(source.listed)
    for number in range(10 * FILTERS):
        lists.get(criv1.ContainerFilter(id=str(number)), 0)
    assert source.made == 10 * FILTERS
    assert len(lists._known) <= FILTERS
