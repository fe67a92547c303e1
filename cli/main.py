"""``navarch``: one program for the life of a cluster and for what runs in it."""

import sys

import typer

from navarch.cli.cluster.layout import UsageError
from navarch.cli.commands import register
from navarch.services.api.errors import ApiError

app = typer.Typer(
    name="navarch",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _program() -> None:
    """Kubernetes as gRPC microservices: start a cluster, apply manifests, look at what runs."""


def main() -> None:
    """Run the command line; errors that people cause or meet end in one line and exit code 1."""
    register(app, sys.argv[1:])
    try:
        app()
    except ApiError as error:
        _fail(f"Error from server ({error.reason}): {error.message}")
    except UsageError as error:
        _fail(f"error: {error}")
    except OSError as error:
        _fail(f"error: {error.strerror or error}{f': {error.filename}' if error.filename else ''}")
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(message: str) -> None:
    print(message, file=sys.stderr)
    sys.exit(1)
