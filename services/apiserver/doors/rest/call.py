"""One HTTP request, as the handlers of this door see it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from navarch.services.api.errors import BadRequest
from navarch.services.apiserver.auth.user import User
from navarch.services.apiserver.doors.rest.paths import ResourcePath
from navarch.services.apiserver.registry.core import Core

# What a query parameter that is true or false says no with.
FALSE = ("", "0", "f", "F", "false", "FALSE", "False")


@dataclass(frozen=True, slots=True)
class Call:
    """A request whose sender is known. path: None where the URL is about no resource."""

    request: web.BaseRequest
    core: Core
    user: User
    path: ResourcePath | None

    @property
    def query(self) -> Mapping[str, str]:
        """The query parameters; of one given more than once the first counts (`request.query.getall` has all)."""
        return self.request.query

    def text(self, name: str, default: str = "") -> str:
        """A query parameter."""
        return self.request.query.get(name, default)

    def flag(self, name: str) -> bool:
        """A query parameter that is true or false, as Go reads it. Raises BadRequest."""
        value = self.request.query.get(name, "")
        if value in FALSE:
            return False
        if value in ("1", "t", "T", "true", "TRUE", "True"):
            return True
        raise BadRequest(f"{name}: Invalid value: {value!r}: a boolean is accepted")

    def number(self, name: str, default: int = 0) -> int:
        """A query parameter that is a whole number of 64 bits. Raises BadRequest."""
        value = self.request.query.get(name, "")
        if not value:
            return default
        try:
            number = int(value) if value.isascii() and "_" not in value else None
        except ValueError:
            number = None
        if number is None or not -(2**63) <= number < 2**63:
            raise BadRequest(f"{name}: Invalid value: {value!r}: a 64-bit integer is accepted")
        return number


# Answers a call. What it raises as ApiError becomes a Status in the format that the client accepts.
Handler = Callable[[Call], Awaitable[web.StreamResponse]]


class Routes(Protocol):
    """Where handlers are looked up (`routes.RouteTable`)."""

    def path(self, path: str) -> Handler | None:
        """The handler of a path that is no resource: "/version", "/openapi/v2"."""
        ...

    def part(self, group: str, resource: str, subresource: str) -> Handler | None:
        """The handler of a subresource that is no object: ("", "pods", "exec")."""
        ...
