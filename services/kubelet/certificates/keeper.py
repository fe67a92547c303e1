"""Keeps the certificate of one purpose valid."""

from collections.abc import Awaitable, Callable, Sequence

from navarch.services.api.errors import ApiError
from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.client.client import Client
from navarch.services.kubelet.certificates.files import PairFiles, read
from navarch.services.kubelet.certificates.options import CertificateOptions
from navarch.services.kubelet.certificates.requests import Refused, obtain, request_for
from navarch.services.kubelet.core.certificates import (
    Purpose,
    is_usable,
    misses_names,
    renewal_at,
)

# How often the clock is looked at: hosts sleep, and their clocks are set.
LOOK_S = 60.0
RETRY_S = 1.0
LONGEST_RETRY_S = 60.0

Pair = tuple[bytes, bytes]


class CertificateKeeper:
    """One purpose's. names: that a server is reached by, empty for a client."""

    def __init__(
        self,
        files: PairFiles,
        purpose: Purpose,
        node_name: str,
        clock: Clock,
        options: CertificateOptions,
        names: Sequence[str] = (),
    ) -> None:
        self._files = files
        self._purpose = purpose
        self._node_name = node_name
        self._clock = clock
        self._options = options
        self._names = names
        self._log = get_logger("kubelet.certificates").bind(purpose=purpose.files)

    def usable(self) -> Pair | None:
        """Certificate and key from before, if they can be shown; PEM each."""
        pair = self._files.load()
        return pair if pair is not None and is_usable(read(pair[0]), self._node_name, self._clock.now()) else None

    async def obtain(self, client: Callable[[], Client]) -> Pair:
        """Ask until there is a certificate, and put it into use. client: by which to ask, said anew each time."""
        pause_s = RETRY_S
        while True:
            key = self._files.draft_key()
            request = request_for(key, self._purpose, self._node_name, self._names, self._options.expiration_s)
            try:
                certificate = await obtain(client(), request, key)
                if not is_usable(read(certificate), self._node_name, self._clock.now()):
                    raise Refused(f"the certificate of request {request.metadata.name} is not valid now")
                self._files.save(certificate, key, self._clock.now())
                self._log.info("certificate.obtained", request=request.metadata.name)
                return certificate, key
            except Refused as failure:
                self._log.warning("certificate.refused", error=failure)
                self._files.drop_draft()
            except ApiError as failure:
                self._log.warning("certificate.unobtained", error=failure)
            await self._clock.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_RETRY_S)

    async def run(self, client: Callable[[], Client], on_new: Callable[[Pair], Awaitable[None]]) -> None:
        """Renew for ever. client: by which to ask; on_new takes what is to be shown from now on."""
        while True:
            await self._due()
            await on_new(await self.obtain(client))

    async def _due(self) -> None:
        share = self._options.share()
        while True:
            pair = self._files.load()
            if pair is None:
                return
            held = read(pair[0])
            now = self._clock.now()
            left_s = renewal_at(held, self._files.obtained_at(), share) - now
            if left_s <= 0 or not is_usable(held, self._node_name, now) or misses_names(held, self._names):
                return
            await self._clock.sleep(min(left_s, LOOK_S))
