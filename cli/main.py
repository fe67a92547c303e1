"""``navarch``: one program for the life of a cluster and for what runs in it."""

import gc
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

# Hardly anything that is loaded at the start ever becomes garbage, and looking for it takes a sixth of the time.
gc.disable()

import typer  # noqa: E402
import typer.main  # noqa: E402

from navarch.cli.commands import FAMILIES, register  # noqa: E402
from navarch.cli.errors import explain  # noqa: E402

# What kubectl lets stand before the verb.
LEADING = ("-n", "--namespace", "--kubeconfig")


def main() -> NoReturn:
    """Run the command line and end the process."""
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = code or 1
    # Everything is closed; to take the interpreter down piece by piece would last as long as the command did.
    os._exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line. Returns its exit code; errors that people cause or meet are one line on stderr."""
    words = options_behind_verb(arguments)
    program = typer.main.get_command(build(words))
    try:
        program(plain_flags(words, _flags(program, words)), prog_name="navarch")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        print(explain(error), file=sys.stderr)
        return 1
    return 0


def build(words: Sequence[str]) -> typer.Typer:
    """The program with the commands that the words may call."""
    app = typer.Typer(
        name="navarch",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_program)
    register(app, words)
    return app


def _program() -> None:
    """Kubernetes as gRPC microservices: start a cluster, apply manifests, look at what runs."""


def options_behind_verb(arguments: Sequence[str]) -> list[str]:
    """``-n web get pods`` as ``get -n web pods``: each option here belongs to a verb."""
    rest, leading = list(arguments), list[str]()
    while rest and rest[0].partition("=")[0] in LEADING:
        taken = 1 if "=" in rest[0] else 2
        leading += rest[:taken]
        del rest[:taken]
    depth = 2 if rest[:1] and rest[0] in FAMILIES else 1
    return [*rest[:depth], *leading, *rest[depth:]]


def plain_flags(words: Sequence[str], flags: Mapping[str, str]) -> list[str]:
    """``--wait=false`` as ``--no-wait``, ``--all=true`` as ``--all``. ``flags``: each with its opposite, or ""."""
    end = words.index("--") if "--" in words else len(words)
    plain: list[str] = []
    for word in words[:end]:
        flag, _, value = word.partition("=")
        if flag in flags and value in ("true", "false"):
            plain += filter(None, [flag if value == "true" else flags[flag]])
        else:
            plain.append(word)
    return [*plain, *words[end:]]


def _flags(program: Any, words: Sequence[str]) -> dict[str, str]:
    """The flags of the command that is called, with what turns each off."""
    command = program
    for word in words[:2]:
        command = getattr(command, "commands", {}).get(word, command)
    return {
        name: (option.secondary_opts or [""])[0]
        for option in command.params
        if getattr(option, "is_flag", False)
        for name in option.opts
    }


if __name__ == "__main__":
    main()
