"""Who may do what at this kubelet: the same for both of its servers."""

from navarch.services.base.clock import Clock
from navarch.services.client.client import Client
from navarch.services.kubelet.authentication import Authentication
from navarch.services.kubelet.authorization import Authorization, Deed

# Anybody may ask whether it lives, as probes do.
OPEN_PATHS = frozenset({"/healthz"})


class Access:
    """Lets callers in. anonymous: also those without credentials, as far as they are allowed to do something."""

    def __init__(self, client: Client, clock: Clock, node: str, *, anonymous: bool = False) -> None:
        self._authentication = Authentication(client, clock, anonymous=anonymous)
        self._authorization = Authorization(client, clock, node)

    async def require(self, certificate: bytes | None, authorization: str, method: str, path: str) -> None:
        """Raises Unauthorized, Forbidden, or another ApiError when the API server cannot be asked.

        certificate: PEM, verified, if the caller has one. authorization: the header of that name.
        """
        if path in OPEN_PATHS:
            return
        caller = await self._authentication.caller(certificate, authorization)
        await self._authorization.require(caller, Deed.of(method, path))
