"""The loop that signs what was approved, for the four signers of Kubernetes itself."""

from dataclasses import dataclass

from navarch.protos.k8s.certificates import v1_pb2 as certificatesv1
from navarch.services.api.meta import time_from
from navarch.services.base.log import get_logger
from navarch.services.base.tls import CertificateAuthority
from navarch.services.client.context import Context
from navarch.services.client.controller import Controller
from navarch.services.controller_manager.certificates.rules import (
    FAILED,
    Asked,
    Request,
    refusal,
    wants_signature,
)

WORKERS = 2
DEFAULT_DURATION_S = 365 * 24 * 3600.0
MIN_DURATION_S = 600.0


@dataclass(frozen=True, slots=True)
class Signing:
    """With what, and for how long at most (and where the request does not say)."""

    authority: CertificateAuthority
    duration_s: float = DEFAULT_DURATION_S


def duration(request: Request, limit_s: float) -> float:
    """For how many seconds a certificate is to be valid: as asked, within ten minutes and the signer's limit."""
    if not request.spec.HasField("expiration_seconds"):
        return limit_s
    return max(min(float(request.spec.expiration_seconds), limit_s), min(MIN_DURATION_S, limit_s))


class SigningController:
    """Reconciles requests by name."""

    def __init__(self, context: Context, signing: Signing) -> None:
        self.controller = Controller(
            "certificatesigningrequest-signing-controller", self.reconcile, WORKERS, context.clock
        )
        self._client, self._clock = context.client, context.clock
        self._signing = signing
        self._log = get_logger("csr-signing")
        self._requests = context.informers.of(certificatesv1.CertificateSigningRequest)
        self._requests.on_event(self._on_request)

    async def reconcile(self, name: str) -> None:
        """Sign one request that was approved, or say why not."""
        request = self._requests.get(name)
        if request is None or not wants_signature(request):
            return
        answer = Request()
        answer.CopyFrom(request)
        now = self._clock.now()
        if problem := self._problem(request):
            answer.status.conditions.add(
                type=FAILED,
                status="True",
                reason="SignerValidationFailure",
                message=problem,
                last_update_time=time_from(now),
            )
            self._log.warning("csr.refused", name=name, signer=request.spec.signer_name, problem=problem)
        else:
            duration_s = duration(request, self._signing.duration_s)
            answer.status.certificate = self._signing.authority.sign(
                request.spec.request, request.spec.usages, duration_s, now=now
            )
        await self._client.update_status(answer)

    def _problem(self, request: Request) -> str:
        try:
            asked = Asked.read(request.spec.request)
        except ValueError as failure:
            return f"spec.request cannot be read: {failure}"
        return refusal(request.spec.signer_name, asked, request.spec.usages)

    def _on_request(self, old: Request | None, new: Request | None) -> None:
        if new is not None and wants_signature(new):
            self.controller.queue.add(new.metadata.name)
