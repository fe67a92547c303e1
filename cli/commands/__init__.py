"""One file a verb, or a family of verbs that belong together."""

from collections.abc import Sequence
from importlib import import_module

import typer

# Verb -> module, in the order of `navarch --help`. Only the module of the verb that is called is imported.
VERBS = {
    "up": "cluster",
    "down": "cluster",
    "status": "cluster",
    "apply": "apply",
    "create": "apply",
    "get": "get",
    "describe": "describe",
    "history": "history",
    "delete": "delete",
    "logs": "logs",
    "exec": "execute",
    "scale": "scale",
    "rollout": "rollout",
    "wait": "wait",
    "events": "events",
    "cordon": "node",
    "uncordon": "node",
    "drain": "node",
    "node": "node_view",
    "image": "image",
    "store": "store",
    "version": "version",
}
# Verbs that have verbs of their own.
FAMILIES = frozenset({"rollout", "image", "store", "node"})


def register(app: typer.Typer, arguments: Sequence[str]) -> None:
    """Add the command that the arguments call, or all commands where they call none."""
    called = VERBS.get(next((word for word in arguments if not word.startswith("-")), ""))
    for module in [called] if called else dict.fromkeys(VERBS.values()):
        import_module(f"{__name__}.{module}").register(app)
