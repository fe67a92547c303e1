"""The loop that removes requests nobody needs any more; a kubelet makes a few each year, for ever."""

from contextlib import suppress

from cryptography import x509

from navarch.protos.k8s.certificates import v1_pb2 as certificatesv1
from navarch.services.api import errors
from navarch.services.api.meta import unix
from navarch.services.client.context import Context
from navarch.services.client.controller import Controller, Result
from navarch.services.controller_manager.certificates.rules import APPROVED, DENIED, FAILED, Request, of_type

WORKERS = 1
# As Kubernetes' own cleaner.
DECIDED_S = 3600.0
PENDING_S = 24 * 3600.0


def remove_at(request: Request) -> float | None:
    """When a request is to go, unix seconds; None for one that is approved and waits to be signed."""
    moments = [
        unix(found.last_update_time) + DECIDED_S for kind in (DENIED, FAILED) if (found := of_type(request, kind))
    ]
    approved = of_type(request, APPROVED)
    if approved is not None and request.status.certificate:
        moments += [unix(approved.last_update_time) + DECIDED_S, *_end_of(request.status.certificate)]
    if not request.status.conditions:
        moments.append(unix(request.metadata.creation_timestamp) + PENDING_S)
    return min(moments, default=None)


def _end_of(pem: bytes) -> list[float]:
    try:
        return [x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()]
    except ValueError:
        return []


class CleaningController:
    """Reconciles requests by name."""

    def __init__(self, context: Context) -> None:
        self.controller = Controller(
            "certificatesigningrequest-cleaner-controller", self.reconcile, WORKERS, context.clock
        )
        self._client, self._clock = context.client, context.clock
        self._requests = context.informers.of(certificatesv1.CertificateSigningRequest)
        self._requests.on_event(self._on_request)

    async def reconcile(self, name: str) -> Result | None:
        """Remove one request, or look again when its time has come."""
        request = self._requests.get(name)
        moment = remove_at(request) if request is not None else None
        if request is None or moment is None:
            return None
        left_s = moment - self._clock.now()
        if left_s > 0:
            return Result(left_s)
        with suppress(errors.NotFound):
            await self._client.delete(certificatesv1.CertificateSigningRequest, name, uid=request.metadata.uid)
        return None

    def _on_request(self, old: Request | None, new: Request | None) -> None:
        if new is not None:
            self.controller.queue.add(new.metadata.name)
