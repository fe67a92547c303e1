"""The loop that approves: client certificates of nodes for whoever may have them.

Whether the requester may is asked of the API server, as a right to create certificatesigningrequests/nodeclient (for
any node) or /selfnodeclient (a node renews its own). Serving certificates are approved only where that was
configured, and only for addresses that the Node object has: Kubernetes itself leaves them to others.
"""

from navarch.protos.k8s.authorization import v1_pb2 as authorizationv1
from navarch.protos.k8s.certificates import v1_pb2 as certificatesv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.meta import time_from
from navarch.services.base.log import get_logger
from navarch.services.client.context import Context
from navarch.services.client.controller import Controller, Result
from navarch.services.controller_manager.certificates.rules import (
    APPROVED,
    KUBELET_SERVING,
    NODE_PREFIX,
    Asked,
    Request,
    is_own_serving,
    is_undecided,
    permissions,
)

WORKERS = 2
# Rights and addresses of nodes change without a word to us.
LOOK_AGAIN_S = 10.0
_MESSAGES = {
    "selfnodeclient": "Auto approving self kubelet client certificate after SubjectAccessReview.",
    "nodeclient": "Auto approving kubelet client certificate after SubjectAccessReview.",
}


class ApprovalController:
    """Reconciles requests by name. serving: approve serving certificates of nodes, too."""

    def __init__(self, context: Context, *, serving: bool) -> None:
        self.controller = Controller(
            "certificatesigningrequest-approving-controller", self.reconcile, WORKERS, context.clock
        )
        self._client, self._clock = context.client, context.clock
        self._serving = serving
        self._log = get_logger("csr-approval")
        self._requests = context.informers.of(certificatesv1.CertificateSigningRequest)
        self._nodes = context.informers.of(corev1.Node)
        self._requests.on_event(self._on_request)
        self._nodes.on_event(self._on_node)

    async def reconcile(self, name: str) -> Result | None:
        """Approve one request, if it is one to approve."""
        request = self._requests.get(name)
        if request is None or not is_undecided(request):
            return None
        try:
            asked = Asked.read(request.spec.request)
        except ValueError:
            return None
        if request.spec.signer_name == KUBELET_SERVING:
            return await self._decide_serving(request, asked) if self._serving else None
        wanted = permissions(request, asked)
        for permission in wanted:
            if await self._is_allowed(request, permission):
                await self._approve(request, _MESSAGES[permission])
                return None
        return Result(LOOK_AGAIN_S) if wanted else None

    async def _decide_serving(self, request: Request, asked: Asked) -> Result | None:
        node = self._nodes.get(asked.common_name.removeprefix(NODE_PREFIX))
        addresses = [one.address for one in node.status.addresses] if node is not None else []
        if not is_own_serving(request, asked, addresses):
            return Result(LOOK_AGAIN_S)
        await self._approve(request, "Auto approving kubelet serving certificate for addresses of its Node.")
        return None

    async def _is_allowed(self, request: Request, permission: str) -> bool:
        review = authorizationv1.SubjectAccessReview()
        spec = review.spec
        spec.user, spec.uid = request.spec.username, request.spec.uid
        spec.groups.extend(request.spec.groups)
        for key, values in request.spec.extra.items():
            spec.extra[key].items.extend(values.items)
        spec.resource_attributes.verb = "create"
        spec.resource_attributes.group = "certificates.k8s.io"
        spec.resource_attributes.resource = "certificatesigningrequests"
        spec.resource_attributes.subresource = permission
        return (await self._client.create(review)).status.allowed

    async def _approve(self, request: Request, message: str) -> None:
        approved = Request()
        approved.CopyFrom(request)
        now = time_from(self._clock.now())
        approved.status.conditions.add(
            type=APPROVED, status="True", reason="AutoApproved", message=message, last_update_time=now
        )
        await self._client.update(approved, subresource="approval")
        self._log.info("csr.approved", name=request.metadata.name, requester=request.spec.username)

    def _on_request(self, old: Request | None, new: Request | None) -> None:
        if new is not None:
            self.controller.queue.add(new.metadata.name)

    def _on_node(self, old: corev1.Node | None, new: corev1.Node | None) -> None:
        """A request may have come before the addresses that it names."""
        if new is None or (old is not None and list(old.status.addresses) == list(new.status.addresses)):
            return
        for request in self._requests.list():
            if request.spec.signer_name == KUBELET_SERVING and is_undecided(request):
                self.controller.queue.add(request.metadata.name)
