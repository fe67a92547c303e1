"""What annotations ask a simulated container to do, and what of them is refused."""

from typing import Any

import pytest

from navarch.runtime_shim.errors import InvalidArgument
from navarch.runtime_shim.simulated.behavior import PREFIX, Behavior


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("start-delay-seconds", "1.5", 1.5),
        ("start-error", "no such file", "no such file"),
        ("exit-after-seconds", "0", 0.0),
        ("exit-code", "255", 255),
        ("oom-after-seconds", "3", 3.0),
        ("ignore-sigterm", "true", True),
        ("ignore-sigterm", "false", False),
        ("log", "one\ntwo", "one\ntwo"),
        ("log", "", ""),
        ("exec-output", "", ""),
        ("exec-exit-code", "7", 7),
        ("pull-error", "401", "401"),
        ("pull-delay-seconds", "2", 2.0),
        ("image-size-bytes", "0", 0),
        ("memory-bytes", str(1 << 50), 1 << 50),
        ("cpu-millicores", "1000000", 1_000_000),
    ],
)
def test_accepted(name: str, text: str, value: Any) -> None:
    found = getattr(Behavior.of({PREFIX + name: text}, "main"), name.replace("-", "_"))
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "text", "accepted"),
    [
        ("start-delay-seconds", "nan", "a number of seconds"),
        ("start-delay-seconds", "soon", "a number of seconds"),
        ("exit-after-seconds", "inf", "a number of seconds"),
        ("exit-after-seconds", "-1", "a number of seconds"),
        ("oom-after-seconds", "-0.1", "a number of seconds"),
        ("pull-delay-seconds", "", "a number of seconds"),
        ("exit-code", "300", "from 0 to 255"),
        ("exit-code", "-1", "from 0 to 255"),
        ("exit-code", "1.0", "from 0 to 255"),
        ("exec-exit-code", "256", "from 0 to 255"),
        ("cpu-millicores", "1000001", "from 0 to 1000000"),
        ("image-size-bytes", str((1 << 50) + 1), f"from 0 to {1 << 50}"),
        ("memory-bytes", "9" * 5000, "a whole number"),
        ("memory-bytes", "1_000", "a whole number"),
        ("ignore-sigterm", "yes", "true or false"),
    ],
)
def test_refused(name: str, text: str, accepted: str) -> None:
    with pytest.raises(InvalidArgument, match=accepted) as refusal:
        Behavior.of({PREFIX + name: text}, "main")
    assert PREFIX + name in str(refusal.value)
    assert text[:50] in str(refusal.value)
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("name", ["exit-cod", "", "Exit-Code", "exit_code", "exitcode.main"])
def test_an_unknown_one_is_refused_with_those_that_are_known(name: str) -> None:
    with pytest.raises(InvalidArgument, match="unknown; known are .*exit-code") as refusal:
        Behavior.of({PREFIX + name: "1"}, "main")
    assert PREFIX + name in str(refusal.value)


def test_one_of_another_container_is_not_taken_but_checked() -> None:
    both = {PREFIX + "exit-code": "1", PREFIX + "exit-code.main": "2"}
    # In whatever order they come.
    for annotations in (both, dict(reversed(both.items()))):
        assert Behavior.of(annotations, "main").exit_code == 2
        assert Behavior.of(annotations, "other").exit_code == 1
    with pytest.raises(InvalidArgument, match="exit-code.main"):
        Behavior.of({PREFIX + "exit-code.main": "x"}, "other")


def test_a_container_may_have_dots_in_its_name() -> None:
    assert Behavior.of({PREFIX + "exit-code.a.b": "3"}, "a.b").exit_code == 3


def test_what_others_say_is_none_of_ours() -> None:
    assert Behavior.of({"example.com/exit-code": "x", "simulated.navarch.dev": "x"}, "main") == Behavior()
