"""What flags of several commands may say."""

import argparse

from navarch.services.store.peer_urls import parse


def urls(text: str) -> tuple[str, ...]:
    """URL,URL,... of a member. Raises argparse.ArgumentTypeError."""
    found = tuple(text.split(","))
    for url in found:
        try:
            parse(url)
        except ValueError as problem:
            raise argparse.ArgumentTypeError(str(problem)) from problem
    return found


def cluster(text: str) -> dict[str, tuple[str, ...]]:
    """NAME=URL,NAME=URL,...: URLs by name, which may come several times. Raises argparse.ArgumentTypeError."""
    members: dict[str, tuple[str, ...]] = {}
    for pair in text.split(","):
        name, equals, url = pair.partition("=")
        if not name or not equals:
            raise argparse.ArgumentTypeError(f"{pair!r} is not NAME=URL")
        members[name] = (*members.get(name, ()), *urls(url))
    return members
