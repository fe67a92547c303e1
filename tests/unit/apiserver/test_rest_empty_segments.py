"""A path with nothing where a name belongs is no path to an object: another server might skip what is empty."""

import pytest

from navarch.services.apiserver.doors.rest.paths import parse


@pytest.mark.parametrize(
    "path",
    [
        "/apis/example.com/v1/namespaces/ns//secrets",
        "/apis/example.com/v1/namespaces/ns/secrets//x/y",
        "/apis/example.com/v1/secrets///x",
        "/apis/example.com/v1//secrets",
    ],
)
def test_nothing_is_authorized_as_what_it_is_not(path: str) -> None:
    assert parse(path) is None


def test_a_proxys_tail_may_hold_what_it_likes() -> None:
    found = parse("/api/v1/namespaces/ns/pods/web/proxy//a//b/")
    assert found is not None
    assert found.tail == "//a//b/"
