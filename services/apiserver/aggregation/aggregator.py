"""The loop of aggregation: local groups have their APIService, remote ones are known and looked after.

Level-triggered: each round compares what is stored with what should be, and a change of any APIService or definition
starts another.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import aiohttp
from aiohttp import web

from navarch.protos.k8s.apiregistration import v1_pb2 as apiregistrationv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.k8s.meta import v1_pb2 as metav1
from navarch.services.api import meta
from navarch.services.api.errors import AlreadyExists, ApiError, NotFound
from navarch.services.api.kinds import KINDS
from navarch.services.apiserver import outbound
from navarch.services.apiserver.aggregation import registrations
from navarch.services.apiserver.aggregation.availability import examine
from navarch.services.apiserver.aggregation.front_proxy import trust
from navarch.services.apiserver.aggregation.passing import pass_on
from navarch.services.apiserver.aggregation.remotes import Remote, grouped
from navarch.services.apiserver.auth.user import MASTERS, User
from navarch.services.apiserver.cacher.cache import TooOld
from navarch.services.apiserver.cacher.selection import Selection
from navarch.services.apiserver.cacher.subscription import Subscription
from navarch.services.apiserver.custom.addresses import ServiceAddresses
from navarch.services.apiserver.custom.kinds import CRD
from navarch.services.apiserver.doors.rest.call import Call, Handler
from navarch.services.apiserver.registry.core import Core, Target
from navarch.services.apiserver.registry.create import create_object
from navarch.services.apiserver.registry.delete import delete_object
from navarch.services.apiserver.registry.modify import Keep, Order, Write, modify
from navarch.services.apiserver.stored import StoredObject
from navarch.services.base.credentials import Credentials
from navarch.services.base.log import get_logger

LOG = get_logger("apiserver.aggregation")
KIND = KINDS.of(apiregistrationv1.APIService)
CONFIG_MAP = KINDS.of(corev1.ConfigMap)
SERVER = User("system:apiserver", frozenset({MASTERS}))
LOCAL = ("True", "Local", "Local APIServices are always available")
# Between two looks at servers that all answer, and at one that does not.
RECHECK_S = 30.0
RETRY_S = 2.0


class Aggregator:
    """Knows the remote groups of a server."""

    def __init__(self, core: Core, credentials: Credentials | None, proxy: Credentials | None = None) -> None:
        """credentials: of this server; proxy: what it shows to extension servers, by default the same."""
        self._core = core
        self._credentials = credentials
        self._proxy = proxy or credentials
        self._addresses = ServiceAddresses(core.storage, core.rng)
        self._remotes: dict[tuple[str, str], Remote] = {}
        self._changed = asyncio.Event()
        self._subscriptions: list[Subscription] = []
        self._session: aiohttp.ClientSession | None = None

    def handler_for(self, group: str, version: str) -> Handler | None:
        """What answers calls to a group and version that another server serves."""
        remote = self._remotes.get((group, version))
        if remote is None:
            return None

        async def handle(call: Call) -> web.StreamResponse:
            return await pass_on(call, remote, self._addresses, self.session())

        return handle

    def groups(self) -> dict[str, list[Remote]]:
        """The remotes of each group, for discovery; the preferred first."""
        return grouped(self._remotes)

    def session(self) -> aiohttp.ClientSession:
        """Connections to extension servers."""
        if self._session is None:
            self._session = outbound.session()
        return self._session

    async def close(self) -> None:
        """Close all connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def start(self) -> None:
        """Know the remote groups and have the own ones registered, before anybody asks for them."""
        await self._follow()
        await self._register()

    async def run(self) -> None:
        """Forever; after `start`."""
        while True:
            is_fine = False
            try:
                if any(subscription.ended for subscription in self._subscriptions):
                    await self._follow()
                self._changed.clear()
                is_fine = await self._round()
            except ApiError as failure:
                LOG.warning("aggregation.failed", error=failure.message)
            await self._wait(RECHECK_S if is_fine else RETRY_S)

    async def _wait(self, limit_s: float) -> None:
        sleeping = asyncio.ensure_future(self._core.clock.sleep(limit_s))
        waking = asyncio.ensure_future(self._changed.wait())
        try:
            await asyncio.wait((sleeping, waking), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            waking.cancel()

    async def _follow(self) -> None:
        """Be woken by changes of APIServices and definitions from now on."""
        for old in self._subscriptions:
            old.end("reset")
        self._subscriptions = []
        for kind, take in ((KIND, self._load), (CRD, lambda: None)):
            cache = await self._core.cachers.of(kind).ready()
            subscription = Subscription(Selection(), cache.revision, self._waker(take))
            try:
                cache.subscribe(subscription)
            except TooOld:
                subscription.end("reset")
            self._subscriptions.append(subscription)
        self._load()

    def _waker(self, take: Callable[[], None]) -> Callable[[], None]:
        def wake() -> None:
            for subscription in self._subscriptions:
                subscription.take()
            take()
            self._changed.set()

        return wake

    def _load(self) -> None:
        """Bring the table of remotes to what is stored."""
        local = {(kind.group, kind.version) for kind in self._core.kinds if not kind.is_custom}
        found: dict[tuple[str, str], Remote] = {}
        for stored in self._core.cachers.of(KIND).cache.select(""):
            service = stored.decode()
            key = (service.spec.group, service.spec.version)
            if not service.spec.HasField("service") or key in local:
                continue
            old = self._remotes.get(key)
            try:
                is_same = old is not None and old.spec == service.spec
                remote = old if old is not None and is_same else Remote.of(service.spec, self._proxy)
            except ValueError as failure:
                LOG.warning("aggregation.bad_service", name=stored.name, error=str(failure))
                continue
            remote.is_available = meta.condition_is(service.status.conditions, "Available")
            found[key] = remote
        self._remotes = found

    def _stored(self) -> dict[str, Any]:
        return {one.name: one.decode() for one in self._core.cachers.of(KIND).cache.select("")}

    async def _round(self) -> bool:
        """Have everything as it should be. Returns whether all remote servers answer."""
        await self._register()
        remote = [found for found in self._stored().values() if found.spec.HasField("service")]
        return all([await self._look_after(found) for found in remote])

    async def _register(self) -> None:
        """What concerns this server itself: its own groups, and whom extension servers are to trust."""
        stored, wanted = self._stored(), registrations.local_services(self._core.kinds)
        gone = [
            name
            for name, found in stored.items()
            if found.metadata.labels.get(registrations.MANAGED) == registrations.WHILE_DEFINED
            and name not in wanted
            and not found.spec.HasField("service")
        ]
        await asyncio.gather(
            self._publish_trust(),
            *(self._register_one(stored.get(name), service) for name, service in wanted.items()),
            *(self._delete(name) for name in gone),
            *(
                self._report(found, *LOCAL)
                for name, found in stored.items()
                if name not in wanted and name not in gone and not found.spec.HasField("service")
            ),
        )

    async def _register_one(self, found: Any, wanted: Any) -> None:
        if found is None:
            await self._create(KIND, wanted)
        elif not registrations.settled(found, wanted):
            await self._change(wanted.metadata.name, partial(_replace, wanted))
        if found is None or not found.spec.HasField("service"):
            await self._report(found or wanted, *LOCAL)

    async def _look_after(self, service: Any) -> bool:
        remote = self._remotes.get((service.spec.group, service.spec.version))
        if remote is None:
            return True
        verdict = await examine(remote, self._core.storage, self._addresses, self.session())
        if verdict.resources is not None:
            remote.resources = verdict.resources
        await self._report(service, verdict.status, verdict.reason, verdict.message)
        return verdict.status == "True"

    async def _report(self, service: Any, status: str, reason: str, message: str) -> None:
        condition = meta.find_condition(service.status.conditions, "Available")
        if condition is not None and (condition.status, condition.reason, condition.message) == (
            status,
            reason,
            message,
        ):
            return
        now = self._core.clock.now()

        def put(found: Any) -> None:
            registrations.put_available(found, status, reason, message, now)

        await self._change(service.metadata.name, put)

    async def _change(self, name: str, change: Callable[[Any], None]) -> None:
        async def decide(current: StoredObject) -> Order:
            new = current.decode()
            change(new)
            return Keep() if new == current.decode() else Write(new)

        try:
            await modify(self._core, Target(KIND, "", name), decide)
        except NotFound:
            # Gone meanwhile; the next round makes it again if it should be there.
            self._changed.set()

    async def _create(self, kind: Any, message: Any) -> None:
        try:
            await create_object(self._core, Target(kind, message.metadata.namespace, message.metadata.name), message)
        except AlreadyExists:
            # Another API server was faster.
            return

    async def _delete(self, name: str) -> None:
        try:
            await delete_object(self._core, SERVER, Target(KIND, "", name), metav1.DeleteOptions())
        except NotFound:
            return

    async def _publish_trust(self) -> None:
        if self._credentials is None or self._proxy is None:
            return
        wanted = trust(self._credentials.ca, self._proxy)
        target = Target(CONFIG_MAP, wanted.metadata.namespace, wanted.metadata.name)
        if await self._core.storage.get(CONFIG_MAP, target.namespace, target.name) is None:
            await self._create(CONFIG_MAP, wanted)
            return

        async def decide(current: StoredObject) -> Order:
            new = current.decode()
            new.data.update(wanted.data)
            return Keep() if new == current.decode() else Write(new)

        await modify(self._core, target, decide)


def _replace(wanted: Any, found: Any) -> None:
    found.spec.CopyFrom(wanted.spec)
    found.metadata.labels.update(wanted.metadata.labels)
