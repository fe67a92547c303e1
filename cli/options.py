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
Namespace = Annotated[
    str, typer.Option("--namespace", "-n", help="The namespace of the objects. Default: the kubeconfig's, or default.")
]
AllNamespaces = Annotated[bool, typer.Option("--all-namespaces", "-A", help="All namespaces.")]
Labels = Annotated[str, typer.Option("--selector", "-l", help="Only objects with these labels: a=b,c!=d,e in (f,g).")]
Fields = Annotated[str, typer.Option("--field-selector", help="Only objects with these fields: status.phase=Running.")]
Output = Annotated[
    str,
    typer.Option(
        "--output", "-o", help="wide, name, yaml, json, jsonpath={...} or custom-columns=NAME:.path,... Default: table."
    ),
]
Files = Annotated[
    list[str] | None, typer.Option("--filename", "-f", help="A file, a directory, or - for standard input.")
]
Recursive = Annotated[bool, typer.Option("--recursive", "-R", help="Directories with all that is below them.")]
DryRun = Annotated[
    str,
    typer.Option("--dry-run", metavar="none|client|server", help="server: let it check everything, but store nothing."),
]
IgnoreNotFound = Annotated[bool, typer.Option("--ignore-not-found", help="What is not there is fine.")]
DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Where the cluster lives. Default: /var/lib/navarch.")]
Container = Annotated[str, typer.Option("--container", "-c", help="Which container of the Pod.")]
Words = Annotated[list[str], typer.Argument(help="TYPE, TYPE NAME..., or TYPE/NAME...", metavar="TYPE[/NAME]...")]
OptionalWords = Annotated[
    list[str] | None, typer.Argument(help="TYPE, TYPE NAME..., or TYPE/NAME...", metavar="TYPE[/NAME]...")
]
Timeout = Annotated[str, typer.Option("--timeout", help="How long to wait: 30s, 5m, 1h.")]
