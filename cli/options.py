"""The options that many commands share, declared once."""

from pathlib import Path
from typing import Annotated

import typer

Kubeconfig = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig", help="Credentials of the cluster. Default: $KUBECONFIG, then the cluster of this host."
    ),
]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="The namespace of the objects.")]
AllNamespaces = Annotated[bool, typer.Option("--all-namespaces", "-A", help="All namespaces.")]
Labels = Annotated[str, typer.Option("--selector", "-l", help="Only objects with these labels: a=b,c!=d,e in (f,g).")]
Output = Annotated[
    str,
    typer.Option("--output", "-o", help="table (default), wide, name, yaml, json, jsonpath={...} or jsonpath-file=F."),
]
Files = Annotated[
    list[str] | None, typer.Option("--filename", "-f", help="A file, a directory, or - for standard input.")
]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where the cluster lives. Default: /var/lib/navarch.")]
Container = Annotated[str, typer.Option("--container", "-c", help="Which container of the Pod.")]
Words = Annotated[list[str], typer.Argument(help="TYPE, TYPE NAME..., or TYPE/NAME...")]
Timeout = Annotated[str, typer.Option("--timeout", help="How long to wait: 30s, 5m, 1h. 0 checks once.")]


def seconds(duration: str) -> float:
    """A duration such as "90", "30s", "5m", "1h30m" in seconds. Raises BadParameter."""
    import re

    factors = {"s": 1.0, "m": 60.0, "h": 3600.0}
    if re.fullmatch(r"\d+(\.\d+)?", duration):
        return float(duration)
    parts = re.findall(r"(\d+(?:\.\d+)?)(h|ms|m|s)", duration)
    if not parts or "".join(f"{number}{unit}" for number, unit in parts) != duration:
        raise typer.BadParameter(f"{duration!r} is not a duration; write 30s, 5m or 1h")
    return sum(float(number) * (0.001 if unit == "ms" else factors[unit]) for number, unit in parts)
