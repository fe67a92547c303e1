"""One term as leader: everything that runs while this process holds the Lease.

Controllers are declared here once, in two stages. The first needs a dozen kinds and gets the cluster going;
the second follows every kind there is, so it starts when the first is at work. A new term begins with new
caches: nothing is carried over that another leader may have changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from navarch.services.base.clock import Clock
from navarch.services.base.log import get_logger
from navarch.services.base.tasks import TaskOwner
from navarch.services.client.client import Client
from navarch.services.client.context import Context, Loop
from navarch.services.client.controller import Controller
from navarch.services.client.informer import Informers
from navarch.services.controller_manager.bootstrap_tokens.cleaner import TokenCleaner
from navarch.services.controller_manager.bootstrap_tokens.signer import BootstrapSigner
from navarch.services.controller_manager.certificates.approval import ApprovalController
from navarch.services.controller_manager.certificates.cleaning import CleaningController
from navarch.services.controller_manager.certificates.signing import Signing, SigningController
from navarch.services.controller_manager.deployment.controller import DeploymentController
from navarch.services.controller_manager.endpoints.controller import EndpointsController
from navarch.services.controller_manager.endpointslice.controller import EndpointSliceController
from navarch.services.controller_manager.endpointslice.plan import SLICE_LIMIT
from navarch.services.controller_manager.endpointslice_mirroring.controller import EndpointSliceMirroringController
from navarch.services.controller_manager.endpointslice_mirroring.plan import SUBSET_LIMIT
from navarch.services.controller_manager.garbage_collector.controller import GarbageCollector
from navarch.services.controller_manager.namespace.controller import NamespaceController
from navarch.services.controller_manager.node_ipam.controller import NodeIpamController
from navarch.services.controller_manager.node_ipam.plan import Network, Range
from navarch.services.controller_manager.node_lifecycle.controller import NodeLifecycleController
from navarch.services.controller_manager.node_lifecycle.plan import Grace
from navarch.services.controller_manager.pod_gc.controller import PodGarbageCollector
from navarch.services.controller_manager.replicaset.controller import ReplicaSetController
from navarch.services.controller_manager.service_account.controller import ServiceAccountController
from navarch.services.controller_manager.service_cidrs.controller import ServiceCidrController
from navarch.services.controller_manager.taint_eviction.controller import TaintEvictionController


@dataclass(frozen=True, slots=True)
class Settings:
    """What the controllers can be told. root_certificate: PEM to publish in every Namespace, or empty.

    signing: None signs nothing. approve_serving: also the serving certificates of kubelets. service_cidrs: addresses
    that no Node gets. slice_limit: endpoints in a slice. mirrored_subset_limit: addresses of an Endpoints subset.
    """

    cluster_cidrs: tuple[Range, ...]
    grace: Grace
    root_certificate: str
    host: str
    signing: Signing | None = None
    approve_serving: bool = False
    service_cidrs: tuple[Network, ...] = ()
    slice_limit: int = SLICE_LIMIT
    mirrored_subset_limit: int = SUBSET_LIMIT


class Term:
    """Starts the controllers and ends them."""

    def __init__(self, client: Client, clock: Clock, settings: Settings) -> None:
        self._context = Context(client, Informers(client, clock), clock, settings.host)
        self._settings = settings
        self._tasks = TaskOwner()
        self._loops: list[Loop] = []

    @property
    def controllers(self) -> Sequence[Controller]:
        """Those made so far, in the order of their start."""
        return [loop.controller for loop in self._loops]

    def start(self) -> None:
        """Begin; controllers take up work as their caches fill."""
        self._tasks.spawn(self._run(), "controllers")

    async def stop(self) -> None:
        """End all controllers where they stand."""
        await self._tasks.close()
        for controller in self.controllers:
            await controller.close()
        await self._context.close()

    async def _run(self) -> None:
        log = get_logger("controller-manager")
        for stage in (self._first_stage, self._second_stage):
            loops = stage(self._context)
            self._loops += loops
            self._context.informers.start()
            await self._context.informers.synced()
            for loop in loops:
                loop.controller.start()
            log.info("controllers.started", names=",".join(loop.controller.name for loop in loops))

    def _first_stage(self, context: Context) -> list[Loop]:
        settings = self._settings
        return [
            NodeIpamController(context, settings.cluster_cidrs, settings.service_cidrs),
            NodeLifecycleController(context, settings.grace),
            ServiceAccountController(context, settings.root_certificate),
            DeploymentController(context),
            ReplicaSetController(context),
            EndpointSliceController(context, settings.slice_limit),
            EndpointSliceMirroringController(context, settings.mirrored_subset_limit),
            EndpointsController(context),
            TaintEvictionController(context),
            PodGarbageCollector(context),
            ApprovalController(context, serving=settings.approve_serving),
            *([SigningController(context, settings.signing)] if settings.signing else []),
            CleaningController(context),
            TokenCleaner(context),
            BootstrapSigner(context),
            ServiceCidrController(context),
        ]

    def _second_stage(self, context: Context) -> list[Loop]:
        return [GarbageCollector(context), NamespaceController(context)]
