"""The past on the command line: get --at, history, and the difference between two moments."""

import pytest

from .conftest import Cli

MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: web}}\ndata: {{size: '{0}'}}\n"


@pytest.fixture
def revisions(cli: Cli) -> list[str]:
    """A ConfigMap written three times, deleted, and made again."""
    found = []
    for size in "123":
        cli.apply(MAP.format(size))
        found.append(cli("get", "cm/web", "-o", "jsonpath={.metadata.resourceVersion}").ok().out)
    cli("delete", "cm/web").ok()
    cli.apply(MAP.format(4))
    return found


def test_get_at_a_revision(cli: Cli, revisions: list[str]) -> None:
    out = [cli("get", "cm", "web", "--at", at, "-o", "jsonpath={.data.size}").ok().out for at in revisions]
    assert out == ["1", "2", "3"]
    listed = cli("get", "cm", "--at", revisions[1], "-o", "jsonpath={.items[*].data.size}").ok().out
    assert "2" in listed.split()
    assert "web" in cli("get", "cm", "--at", "0s").ok().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--at", "nonsense"], "RFC 3339"),
        (["--at", "999999999"], "is in the future"),
        (["--at", "5m", "-w"], "leave --watch away"),
    ],
)
def test_get_at_what_cannot_be(cli: Cli, words: list[str], message: str) -> None:
    result = cli("get", "cm", *words)
    assert result.code == 1
    assert message in result.err


def test_history(cli: Cli, revisions: list[str]) -> None:
    lines = [line.split(None, 2) for line in cli("history", "cm/web").ok().out.splitlines()]
    assert lines[0] == ["REVISION", "AGE", "CHANGE"]
    assert [line[0] for line in lines[1:4]] == revisions
    changes = [line[2] for line in lines[1:]]
    assert (changes[0], changes[3], changes[4]) == ("created", "deleted", "created")
    assert "data.size=1->2" in changes[1]


def test_diff(cli: Cli, revisions: list[str]) -> None:
    one = cli("history", "cm/web", "--diff", revisions[1]).ok().out.splitlines()
    assert {"-  size: '1'", "+  size: '2'"} <= set(one)
    assert one[0] == f"--- configmap/web at {int(revisions[1]) - 1}"
    wide = cli("history", "cm/web", "--diff", f"{revisions[0]}..").ok().out.splitlines()
    assert {"-  size: '1'", "+  size: '4'", "+++ configmap/web now"} <= set(wide)
    assert cli("history", "cm/web", "--diff", f"{revisions[0]}..{revisions[0]}").ok().out == ""


def test_diff_from_before_it_was_there(cli: Cli, revisions: list[str]) -> None:
    before = str(int(revisions[0]) - 1)
    lines = cli("history", "cm/web", "--diff", f"{before}..{revisions[0]}").ok().out.splitlines()
    assert not any(line.startswith("-") for line in lines[1:])
    assert "+  size: '1'" in lines


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["cm/none"], "not found"),
        (["cm/none", "--diff", "1s.."], "neither at 1s nor now"),
        (["cm/web", "--diff", "5m"], "FROM..TO"),
        (["cm/web", "--diff", ".."], "FROM..TO"),
        (["cm/web", "--diff", "x..y"], "RFC 3339"),
        (["cm"], "not found"),
    ],
)
def test_what_cannot_be(cli: Cli, words: list[str], message: str) -> None:
    result = cli("history", *words)
    assert result.code == 1
    assert message in result.err
