"""Addresses of sandboxes that are no more."""

from pathlib import Path

from navarch.services.network.stale_addresses import StaleAddresses, held_addresses, release

HELD = {"10.244.1.2": "alive", "10.244.1.3": "dead", "fd01::3": "dead"}


def host_local(folder: Path) -> Path:
    """A folder as host-local leaves it."""
    for address, sandbox in HELD.items():
        (folder / address).write_text(f"{sandbox}\r\neth0")
    (folder / "last_reserved_ip.0").write_text("10.244.1.3")
    (folder / "lock").touch()
    return folder


def test_who_is_not_listed_for_long_enough_loses_its_address() -> None:
    stale = StaleAddresses(grace_s=60)
    assert stale.stale(HELD, {"alive"}, 100) == {}
    assert stale.stale(HELD, {"alive"}, 159) == {}
    assert stale.stale(HELD, {"alive"}, 160) == {"10.244.1.3": "dead", "fd01::3": "dead"}


def test_who_is_listed_in_between_begins_anew() -> None:
    stale = StaleAddresses(grace_s=60)
    stale.stale(HELD, {"alive"}, 100)
    stale.stale(HELD, {"alive", "dead"}, 130)
    assert stale.stale(HELD, {"alive"}, 170) == {}


def test_an_address_that_was_given_to_another_begins_anew() -> None:
    stale = StaleAddresses(grace_s=60)
    stale.stale({"10.244.1.3": "dead"}, set(), 100)
    assert stale.stale({"10.244.1.3": "made now"}, set(), 170) == {}


def test_files_of_host_local(tmp_path: Path) -> None:
    folder = host_local(tmp_path)
    assert held_addresses(folder) == HELD
    # Meanwhile one was given to another sandbox.
    (folder / "10.244.1.3").write_text("new\r\neth0")
    assert release(folder, {"10.244.1.3": "dead", "fd01::3": "dead", "10.244.1.9": "dead"}) == ["fd01::3"]
    assert held_addresses(folder) == {"10.244.1.2": "alive", "10.244.1.3": "new"}
    assert (folder / "last_reserved_ip.0").exists()


def test_no_folder_no_addresses(tmp_path: Path) -> None:
    assert held_addresses(tmp_path / "none") == {}
    assert release(tmp_path / "none", {}) == []
