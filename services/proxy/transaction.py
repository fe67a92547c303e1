"""What has to change in the table, and the whole table, as input for one run of nft: all of it or nothing."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from navarch.services.proxy.elements import Place
from navarch.services.proxy.statements import Chain
from navarch.services.proxy.structure import Settings, base_chains, containers, render_chain


@dataclass(slots=True)
class Transaction:
    """Chains come before the elements that lead to them and go after."""

    new_chains: dict[str, Chain] = field(default_factory=dict)
    removed: dict[Place, str] = field(default_factory=dict)
    added: dict[Place, str] = field(default_factory=dict)
    old_chains: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.new_chains or self.removed or self.added or self.old_chains)

    @property
    def size(self) -> int:
        """How many things change."""
        return len(self.new_chains) + len(self.removed) + len(self.added) + len(self.old_chains)

    def render(self, settings: Settings) -> str:
        """For `nft -f -`, on a table that is as it was left."""
        table = f"inet {settings.table}"
        lines = []
        if self.new_chains:
            chains = "".join(render_chain(chain, settings.mark) for chain in self.new_chains.values())
            lines.append(f"table {table} {{\n{chains}}}\n")
        lines += [
            f"delete element {table} {name} {{ {text} }}\n" for name, text in _grouped(self.removed, values=False)
        ]
        lines += _additions(table, self.added)
        # Those that lead to others go first: they were made last.
        lines += [f"delete chain {table} {name}\n" for name in reversed(self.old_chains)]
        return "".join(lines)


def render_table(settings: Settings, chains: Iterable[Chain], elements: dict[Place, str]) -> str:
    """For `nft -f -`: the table as it should be, whatever is there. Connections that exist are not touched."""
    table = f"inet {settings.table}"
    declarations = "".join(f" {container.render()}\n" for container in containers(settings))
    rules = "".join(render_chain(chain, settings.mark) for chain in (*chains, *base_chains()))
    # Adding what may exist and deleting it makes the transaction hold in both cases.
    head = f"add table {table}\ndelete table {table}\ntable {table} {{\n{declarations}{rules}}}\n"
    return head + "".join(_additions(table, elements))


def _additions(table: str, elements: dict[Place, str]) -> list[str]:
    return [f"add element {table} {name} {{ {text} }}\n" for name, text in _grouped(elements, values=True)]


def _grouped(elements: dict[Place, str], *, values: bool) -> Iterable[tuple[str, str]]:
    groups: dict[str, list[str]] = {}
    for (container, key), value in elements.items():
        groups.setdefault(container, []).append(f"{key} : {value}" if value and values else key)
    return ((container, ",".join(texts)) for container, texts in groups.items())
