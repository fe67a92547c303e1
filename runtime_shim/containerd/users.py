"""Who a container's process runs as: from the request, the image, and the image's /etc/passwd and /etc/group.

Pure: the two files come as text. Numbers need no entry in them; a number without an entry has group 0, as
Docker and CRI have it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.errors import InvalidArgument

# What the kernel can hold; the topmost means "none".
MAX_ID = 2**31 - 1


@dataclass(frozen=True, slots=True)
class User:
    """Numeric identity of a process. groups: supplementary ones, sorted."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/"


@dataclass(frozen=True, slots=True)
class Accounts:
    """The text of the image's /etc/passwd and /etc/group; empty where it has none."""

    passwd: str = ""
    group: str = ""

    def entry(self, name: str) -> tuple[str, int, int, str] | None:
        """(name, uid, gid, home) of a user by name or number."""
        for fields in _rows(self.passwd, 6):
            if name in (fields[0], fields[2]) and fields[2].isdecimal() and fields[3].isdecimal():
                return fields[0], int(fields[2]), int(fields[3]), fields[5]
        return None

    def gid(self, name: str) -> int | None:
        """The number of a group by name."""
        return next((int(f[2]) for f in _rows(self.group, 3) if f[0] == name and f[2].isdecimal()), None)

    def memberships(self, name: str) -> set[int]:
        """The groups that list this user."""
        rows = (fields for fields in _rows(self.group, 4) if fields[2].isdecimal())
        return {int(fields[2]) for fields in rows if name in fields[3].split(",")}


def resolve(security: criv1.LinuxContainerSecurityContext, image_user: str, accounts: Accounts) -> User:
    """The user of a container's process. Raises InvalidArgument for names that the image doesn't know."""
    has_user = security.HasField("run_as_user") or bool(security.run_as_username)
    if security.HasField("run_as_group") and not has_user:
        raise InvalidArgument("run_as_group is given without a user")
    name, _, group = image_user.partition(":")
    if security.HasField("run_as_user"):
        name, group = str(security.run_as_user.value), ""
    elif security.run_as_username:
        name, group = security.run_as_username, ""
    if security.HasField("run_as_group"):
        group = str(security.run_as_group.value)

    entry = accounts.entry(name or "0")
    if entry is None and name and not name.isdecimal():
        raise InvalidArgument(f"unable to find user {name}: no matching entries in the image's passwd file")
    account, uid, gid, home = entry or ("", _number(name or "0", "user"), 0, "/")
    if group:
        known = accounts.gid(group)
        if known is None and not group.isdecimal():
            raise InvalidArgument(f"unable to find group {group}: no matching entries in the image's group file")
        gid = _number(group, "group") if known is None else known
    groups = set(security.supplemental_groups)
    if account and security.supplemental_groups_policy == criv1.SupplementalGroupsPolicy.Merge:
        groups |= accounts.memberships(account)
    return User(uid, gid, tuple(sorted({gid, *groups})), home or "/")


def _number(text: str, what: str) -> int:
    if not text.isdecimal() or int(text) > MAX_ID:
        raise InvalidArgument(f"invalid {what} id {text}: it must be between 0 and {MAX_ID}")
    return int(text)


def _rows(text: str, minimum: int) -> Iterator[list[str]]:
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) >= minimum and not line.lstrip().startswith("#"):
            yield fields
