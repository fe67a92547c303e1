"""``navarch version``."""

import platform
from importlib.metadata import version as installed

import typer

KUBERNETES_API = "v1.36"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(version)


def version() -> None:
    """Print the versions of this program and of the API that it speaks."""
    print(f"navarch {installed('navarch')}")
    print(f"Kubernetes API {KUBERNETES_API}")
    print(f"Python {platform.python_version()}, {platform.system()} {platform.release()}")
