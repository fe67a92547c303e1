"""Who the kubelet is, from its start on: finds or asks for its certificates, then keeps them.

The order of a start: the certificate in --cert-dir, if it is valid still; else the one in --kubeconfig; else the
kubelet asks as the user of --bootstrap-kubeconfig, for as long as it takes. So a node that was switched off until its
certificate ended comes back by the same way by which it came first. A kill at any moment of this loses nothing but
time: the key of an unanswered request is kept.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from navarch.services.base.clock import Clock
from navarch.services.base.credentials import Credentials
from navarch.services.base.dialing import channel
from navarch.services.base.kubeconfig import Kubeconfig, KubeconfigError, load_kubeconfig, write_kubeconfig
from navarch.services.base.log import get_logger
from navarch.services.client.client import Client
from navarch.services.kubelet.certificates.files import PairFiles, follow, read, read_pair, self_signed_pair
from navarch.services.kubelet.certificates.keeper import CertificateKeeper, Pair
from navarch.services.kubelet.certificates.options import CertificateOptions
from navarch.services.kubelet.config import Config
from navarch.services.kubelet.core.certificates import CLIENT, SERVING, is_usable, subject

LOG = get_logger("kubelet.certificates")


class NodeCredentials:
    """The certificates of one kubelet. names: under which it is reached."""

    def __init__(self, config: Config, names: Sequence[str], clock: Clock) -> None:
        self._config = config
        self._names = names
        self._clock = clock
        self._options = options = config.certificates
        self._agent = f"kubelet/{config.node_name}"
        self._ca = b""
        if options is not None:
            rest = config.node_name, clock, options
            self._client_files = PairFiles(options.directory, CLIENT.files)
            self._clients = CertificateKeeper(self._client_files, CLIENT, *rest)
            files = PairFiles(options.directory, SERVING.files)
            self._servers = CertificateKeeper(files, SERVING, *rest, names=names)

    async def opened(self) -> Config:
        """The configuration with the address of the API server and with credentials. Raises KubeconfigError."""
        config, options = self._config, self._options
        if options is not None:
            found = await self._found(options)
            config = replace(config, api_server=found.address, credentials=found.credentials)
        if config.credentials is None:
            return config
        pair = self._serving_pair() or (config.credentials.cert, config.credentials.key)
        file = config.client_ca_file
        self._ca = config.credentials.ca if file is None else file.read_bytes()
        return replace(config, serving=Credentials(self._ca, *pair))

    async def keep(self, config: Config, client: Client, renew_server: Callable[[Credentials], None]) -> None:
        """Renew for ever. config: as opened. client: is moved to new certificates; renew_server: takes them."""
        options = self._options

        async def on_client(pair: Pair) -> None:
            assert config.credentials is not None
            new = replace(config.credentials, cert=pair[0], key=pair[1], token="")
            await client.move(channel(config.api_server, new, user_agent=self._agent))

        async def on_server(pair: Pair) -> None:
            renew_server(Credentials(self._ca, *pair))

        async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
            if config.serving_files is not None:
                tasks.create_task(follow(config.serving_files, self._clock, on_server))
            if options is None:
                return
            asking = self._asking(options, client, stack)
            if options.rotate_client and self._clients.usable():
                tasks.create_task(self._clients.run(asking, on_client))
            if options.rotate_server:
                tasks.create_task(self._servers.run(asking, on_server))

    async def _found(self, options: CertificateOptions) -> Kubeconfig:
        own = self._own(options)
        if own is not None:
            return own
        if options.bootstrap_kubeconfig is None:
            text = f"kubeconfig {options.kubeconfig} holds no certificate of {subject(self._config.node_name)} that is"
            raise KubeconfigError(f"{text} valid now, and no --bootstrap-kubeconfig is given to ask for one")
        bootstrap = load_kubeconfig(options.bootstrap_kubeconfig, address=self._config.api_server)
        pair = self._clients.usable()
        if pair is None:
            client = Client.connect(bootstrap.address, bootstrap.credentials, self._agent)
            try:
                pair = await self._clients.obtain(lambda: client)
            finally:
                await client.close()
        credentials = Credentials(bootstrap.credentials.ca, *pair)
        if options.kubeconfig is not None:
            write_kubeconfig(
                options.kubeconfig,
                bootstrap.server,
                credentials,
                grpc_address=bootstrap.address,
                user=subject(self._config.node_name),
                pair=self._client_files.current.absolute(),
            )
        return replace(bootstrap, credentials=credentials)

    def _own(self, options: CertificateOptions) -> Kubeconfig | None:
        """What --kubeconfig says, with the newest certificate; None where that is missing or has ended."""
        if options.kubeconfig is None or not options.kubeconfig.exists():
            return None
        try:
            found = load_kubeconfig(options.kubeconfig, address=self._config.api_server)
        except KubeconfigError as failure:
            if options.bootstrap_kubeconfig is None:
                raise
            LOG.warning("certificate.unreadable", error=failure)
            return None
        if (pair := self._clients.usable()) is not None:
            return replace(found, credentials=Credentials(found.credentials.ca, *pair))
        if found.credentials.token:
            return found
        cert, key = found.credentials.cert, found.credentials.key
        if not is_usable(read(cert), self._config.node_name, self._clock.now()):
            return None
        self._client_files.save(cert, key, self._clock.now())
        return found

    def _serving_pair(self) -> Pair | None:
        """What is served with at first: as told, else what was signed, else what nobody vouches for."""
        if self._config.serving_files is not None:
            return read_pair(self._config.serving_files)
        options = self._options
        if options is None:
            return None
        pair = self._servers.usable() if options.rotate_server else None
        return pair or self_signed_pair(options.directory, self._config.node_name, self._names, self._clock.now())

    def _asking(self, options: CertificateOptions, client: Client, stack: AsyncExitStack) -> Callable[[], Client]:
        """By which client to ask: the node's own, or once its certificate has ended the one of the bootstrap."""
        last: list[Client] = []

        def asking() -> Client:
            if self._clients.usable() or options.bootstrap_kubeconfig is None:
                return client
            if not last:
                found = load_kubeconfig(options.bootstrap_kubeconfig, address=self._config.api_server)
                last.append(Client.connect(found.address, found.credentials, self._agent))
                stack.push_async_callback(last[0].close)
            return last[0]

        return asking
