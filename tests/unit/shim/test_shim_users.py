"""Who a container's process runs as."""

from typing import Any

import pytest

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.containerd.users import Accounts, User, resolve
from navarch.runtime_shim.errors import InvalidArgument

PASSWD = "root:x:0:0:root:/root:/bin/sh\n# comment:x:1:1::/:\nweb:x:1000:1001:Web:/srv/web:/bin/sh\nbroken:x:zero\n"
GROUP = "root:x:0:\nstaff:x:50:web,other\nlogs:x:60:web\nwebs:x:1001:\n"
ACCOUNTS = Accounts(PASSWD, GROUP)


def security(**fields: Any) -> criv1.LinuxContainerSecurityContext:
    for name in ("run_as_user", "run_as_group"):
        if name in fields:
            fields[name] = criv1.Int64Value(value=fields[name])
    return criv1.LinuxContainerSecurityContext(**fields)


@pytest.mark.parametrize(
    ("given", "image_user", "expected"),
    [
        pytest.param({}, "", User(0, 0, (0,), "/root"), id="nobody says anything"),
        pytest.param({}, "web", User(1000, 1001, (50, 60, 1001), "/srv/web"), id="image's name"),
        pytest.param({}, "web:staff", User(1000, 50, (50, 60), "/srv/web"), id="image's name and group"),
        pytest.param({}, "4242", User(4242, 0, (0,), "/"), id="number without an entry"),
        pytest.param({}, "4242:7", User(4242, 7, (7,), "/"), id="two numbers"),
        pytest.param({"run_as_user": 1000}, "root", User(1000, 1001, (50, 60, 1001), "/srv/web"), id="number known"),
        pytest.param({"run_as_user": 5, "run_as_group": 6}, "web", User(5, 6, (6,), "/"), id="user and group"),
        pytest.param({"run_as_username": "web"}, "", User(1000, 1001, (50, 60, 1001), "/srv/web"), id="name"),
        pytest.param({"supplemental_groups": [9, 3]}, "4242", User(4242, 0, (0, 3, 9), "/"), id="more groups"),
        pytest.param(
            {"supplemental_groups": [9], "supplemental_groups_policy": criv1.SupplementalGroupsPolicy.Strict},
            "web",
            User(1000, 1001, (9, 1001), "/srv/web"),
            id="only the groups named",
        ),
    ],
)
def test_resolve(given: dict[str, Any], image_user: str, expected: User) -> None:
    assert resolve(security(**given), image_user, ACCOUNTS) == expected


@pytest.mark.parametrize(
    ("given", "image_user", "words"),
    [
        ({}, "nosuch", "unable to find user nosuch"),
        ({}, "web:nosuch", "unable to find group nosuch"),
        ({"run_as_group": 5}, "", "without a user"),
        ({"run_as_user": -1}, "", "unable to find user -1"),
        ({"run_as_user": 1 << 40}, "", "must be between"),
    ],
)
def test_refusals(given: dict[str, Any], image_user: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        resolve(security(**given), image_user, ACCOUNTS)


def test_an_image_without_accounts() -> None:
    assert resolve(security(), "", Accounts()) == User(0, 0, (0,), "/")
