"""How a kubelet comes by its certificates: bootstrap, renewal, and what a kill in the middle leaves."""

import asyncio
import ssl
import time
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from navarch.protos.k8s.certificates import v1_pb2 as certificatesv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.protos.navarch import node_pb2
from navarch.services.api import codec
from navarch.services.base.credentials import Credentials, write_private
from navarch.services.base.kubeconfig import KubeconfigError, load_kubeconfig, write_kubeconfig
from navarch.services.base.tls import new_key
from navarch.services.base.tls_context import client_context
from navarch.services.client.client import Client
from navarch.services.controller_manager.certificates.signing import Signing
from navarch.services.controller_manager.service import Config as ControllerConfig
from navarch.services.controller_manager.service import ControllerManager
from navarch.services.kubelet.certificates.files import split
from navarch.services.kubelet.certificates.options import CertificateOptions
from navarch.services.kubelet.certificates.requests import request_for
from navarch.services.kubelet.core.certificates import CLIENT, SERVING
from navarch.services.kubelet.service import Kubelet

Request = certificatesv1.CertificateSigningRequest
TOKEN = "abcdef.0123456789abcdef"


class Bootstrap:
    """A lab whose kubelet has nothing but a bootstrap token."""

    def __init__(self, lab: Any) -> None:
        self.lab = lab
        self.pki = lab.directory / "pki"
        self.kubeconfig = lab.directory / "kubelet.conf"
        self.current = self.pki / "kubelet-client-current.pem"

    async def prepare(self) -> None:
        data = {
            "token-id": TOKEN[:6],
            "token-secret": TOKEN[7:],
            "usage-bootstrap-authentication": "true",
        }
        secret: Any = codec.from_json(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": f"bootstrap-token-{TOKEN[:6]}", "namespace": "kube-system"},
                "type": "bootstrap.kubernetes.io/token",
                "stringData": data,
            }
        )
        await self.lab.client.create(secret)
        path = self.lab.directory / "bootstrap.conf"
        token = Credentials(self.lab.authority.cert_pem, b"", b"", TOKEN)
        write_kubeconfig(path, "https://127.0.0.1:1", token, grpc_address=self.lab.address)
        self.use()

    def use(self, **changes: Any) -> None:
        given = {
            "directory": self.pki,
            "kubeconfig": self.kubeconfig,
            "bootstrap_kubeconfig": self.lab.directory / "bootstrap.conf",
            **changes,
        }
        self.lab.options = {"certificates": CertificateOptions(**given), "credentials": None}

    async def start_controllers(self, duration_s: float = 3600.0) -> None:
        config = ControllerConfig(
            self.lab.address,
            self.lab.credentials("system:kube-controller-manager"),
            "127.0.0.1:0",
            leader_elect=False,
            signing=Signing(self.lab.authority, duration_s),
            approve_kubelet_serving=True,
        )
        await self.lab._own(ControllerManager(config))

    async def requests(self) -> list[Request]:
        return (await self.lab.client.list(Request)).items  # type: ignore[no-any-return]

    async def asked(self, number: int = 1) -> list[Request]:
        """The requests, once there are so many."""

        async def enough() -> bool:
            return len(await self.requests()) >= number

        await self.lab.until(enough)
        return await self.requests()

    async def renewed(self, path: Any, times: int = 2) -> None:
        """Wait until the certificate in use has been another one so many times."""
        seen = {path.read_bytes()} if path.exists() else set()

        async def often() -> bool:
            if path.exists():
                seen.add(path.read_bytes())
            return len(seen) > times

        await self.lab.until(often)

    async def shown(self, port: int) -> bytes:
        """The certificate that a server shows."""
        context = client_context(self.lab.credentials("kube-apiserver", "system:masters"))
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(True)
        writer.close()
        return certificate


@pytest.fixture
async def bootstrap(bare_lab: Any) -> Bootstrap:
    made = Bootstrap(bare_lab)
    await made.prepare()
    return made


def certificate_in(path: Any) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


async def test_a_node_joins_with_a_bootstrap_token(bootstrap: Bootstrap) -> None:
    await bootstrap.start_controllers()
    await bootstrap.lab.start_kubelet()
    await bootstrap.lab.create("web")
    await bootstrap.lab.running("web")

    assert bootstrap.current.is_symlink()
    assert bootstrap.current.stat().st_mode & 0o777 == 0o600
    certificate = certificate_in(bootstrap.current)
    (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert name.value == "system:node:n1"
    written = load_kubeconfig(bootstrap.kubeconfig)
    assert written.address == bootstrap.lab.address
    assert written.credentials.cert == bootstrap.current.read_bytes()
    (request,) = await bootstrap.requests()
    assert request.spec.username == "system:bootstrap:abcdef"
    assert request.status.conditions[0].reason == "AutoApproved"


async def test_a_restarted_kubelet_asks_for_nothing(bootstrap: Bootstrap) -> None:
    await bootstrap.start_controllers()
    await bootstrap.lab.start_kubelet()
    await bootstrap.lab.stop_kubelet()
    bootstrap.use(bootstrap_kubeconfig=None)
    await bootstrap.lab.start_kubelet()
    assert len(await bootstrap.requests()) == 1


async def test_a_kubelet_killed_while_it_waits_takes_up_its_own_request(bootstrap: Bootstrap) -> None:
    for _ in range(2):
        waiting = asyncio.ensure_future(Kubelet(bootstrap.lab.config()).start())
        (request,) = await bootstrap.asked()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    await bootstrap.start_controllers()
    await bootstrap.lab.start_kubelet()
    assert [found.metadata.uid for found in await bootstrap.requests()] == [request.metadata.uid]


class Killed(BaseException):
    """What a kill looks like from inside."""


@pytest.mark.parametrize(
    "moment",
    [
        "kubelet.certificates.keeper.request_for",
        "kubelet.certificates.keeper.obtain",
        "kubelet.certificates.requests._answer",
        "kubelet.certificates.requests.matches",
        "kubelet.certificates.keeper.PairFiles.save",
        "kubelet.certificates.keeper.PairFiles.drop_draft",
        "kubelet.certificates.identity.write_kubeconfig",
    ],
)
async def test_a_kill_anywhere_in_a_bootstrap_costs_no_second_request(
    bootstrap: Bootstrap, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bootstrap.start_controllers()

    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(f"navarch.services.{moment}", killed)
        with pytest.raises(Killed):
            await Kubelet(bootstrap.lab.config()).start()
    await bootstrap.lab.start_kubelet()
    assert len(await bootstrap.requests()) == 1


async def test_a_denied_request_is_made_anew_with_another_key(bootstrap: Bootstrap) -> None:
    starting = asyncio.ensure_future(bootstrap.lab.start_kubelet())
    (request,) = await bootstrap.asked()
    request.status.conditions.add(type="Denied", status="True", reason="NotYou")
    await bootstrap.lab.client.update(request, subresource="approval")
    both = await bootstrap.asked(2)
    assert len({found.spec.request for found in both}) == 2
    await bootstrap.start_controllers()
    await starting


async def test_an_ended_certificate_is_asked_for_anew(bootstrap: Bootstrap) -> None:
    await bootstrap.start_controllers()
    await bootstrap.lab.start_kubelet()
    await bootstrap.lab.stop_kubelet()
    old = bootstrap.lab.authority.issue("system:node:n1", ["system:nodes"], now=time.time() - 3 * 365 * 86400)
    write_private(bootstrap.current.resolve(), old.cert + old.key)
    await bootstrap.lab.start_kubelet()
    assert certificate_in(bootstrap.current).not_valid_after_utc.timestamp() > time.time()
    assert [found.spec.username for found in await bootstrap.requests()] == ["system:bootstrap:abcdef"] * 2


async def test_a_kubelet_that_missed_its_renewal_begins_with_the_token_again(
    bootstrap: Bootstrap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the API server was away until the certificate had ended."""
    monkeypatch.setattr("navarch.services.kubelet.certificates.keeper.LOOK_S", 0.05)
    await bootstrap.start_controllers()
    await bootstrap.lab.start_kubelet()
    old = bootstrap.lab.authority.issue("system:node:n1", ["system:nodes"], now=time.time() - 3 * 365 * 86400)
    write_private(bootstrap.current.resolve(), old.cert + old.key)

    async def is_renewed() -> bool:
        return certificate_in(bootstrap.current).not_valid_after_utc.timestamp() > time.time()

    await bootstrap.lab.until(is_renewed)
    assert [found.spec.username for found in await bootstrap.requests()] == ["system:bootstrap:abcdef"] * 2
    await bootstrap.lab.create("web")
    await bootstrap.lab.running("web")


async def test_renewals_cut_no_stream_off(bootstrap: Bootstrap) -> None:
    """Certificates of a minute, each renewed after a second of its life."""
    bootstrap.use(rotate_server=True, share=lambda: 0.02)
    await bootstrap.start_controllers(60.0)
    lab = bootstrap.lab
    await lab.start_kubelet()
    server = bootstrap.pki / "kubelet-server-current.pem"
    await bootstrap.renewed(server, 1)
    first = await bootstrap.shown(lab.kubelet.port), await bootstrap.shown(lab.kubelet.grpc_port)
    await lab.create("web", {"log": "hello"})
    await lab.running("web")
    stub = await lab.node()
    options = corev1.PodLogOptions(follow=True)
    following = stub.Logs(node_pb2.LogsRequest(namespace="default", pod="web", options=options))
    assert (await following.read()).data == b"hello\n"

    await bootstrap.renewed(bootstrap.current)
    await bootstrap.renewed(server)

    async def others() -> bool:
        now = await bootstrap.shown(lab.kubelet.port), await bootstrap.shown(lab.kubelet.grpc_port)
        return now[0] != first[0] and now[1] != first[1]

    await lab.until(others)
    assert not following.done()
    own = [found for found in await bootstrap.requests() if found.spec.username == "system:node:n1"]
    assert {found.spec.signer_name for found in own} == {CLIENT.signer, SERVING.signer}
    # Its watches have gone on over new connections.
    await lab.client.delete(corev1.Pod, "web", "default")
    assert await following.read() is grpc.aio.EOF
    await lab.gone("web")


async def test_a_kubeconfig_made_by_hand_is_enough(bootstrap: Bootstrap) -> None:
    """Its certificate is renewed like any other; what is served with was signed by nobody."""
    lab = bootstrap.lab
    given = lab.credentials("system:node:n1", "system:nodes")
    write_kubeconfig(bootstrap.kubeconfig, "https://127.0.0.1:1", given, grpc_address=lab.address)
    shares = iter([0.0])
    bootstrap.use(bootstrap_kubeconfig=None, share=lambda: next(shares, 1.0))
    await bootstrap.start_controllers()
    await lab.start_kubelet()

    async def is_renewed() -> bool:
        return bool(split(bootstrap.current.read_bytes())[1] != given.key)

    await lab.until(is_renewed)
    shown = x509.load_der_x509_certificate(await bootstrap.shown(lab.kubelet.port))
    assert shown.issuer == shown.subject
    assert shown.public_key() == certificate_in(bootstrap.pki / "kubelet.crt").public_key()


async def test_without_any_certificate_it_says_what_is_missing(bootstrap: Bootstrap) -> None:
    bootstrap.use(bootstrap_kubeconfig=None)
    kubelet = Kubelet(bootstrap.lab.config())
    with pytest.raises(KubeconfigError, match="no --bootstrap-kubeconfig is given"):
        await kubelet.start()
    await kubelet.stop()


async def test_another_nodes_certificate_is_not_granted(bootstrap: Bootstrap) -> None:
    """Neither to a node for another one, nor a serving one for addresses that the node does not have."""
    await bootstrap.start_controllers()
    lab = bootstrap.lab
    await lab.start_kubelet()
    node = Client.connect(lab.address, lab.credentials("system:node:n1", "system:nodes"))
    lab.stack.push_async_callback(node.close)
    foreign = await node.create(request_for(new_key(), CLIENT, "n2", ()))
    stolen = await node.create(request_for(new_key(), SERVING, "n1", ("kubernetes.default.svc",)))
    own = await node.create(request_for(new_key(), CLIENT, "n1", ()))

    async def is_granted() -> bool:
        found: Request = await lab.client.get(Request, own.metadata.name)
        return bool(found.status.certificate)

    await lab.until(is_granted)
    # They were made before, and are looked at in turn.
    for refused in (foreign, stolen):
        assert not (await lab.client.get(Request, refused.metadata.name)).status.conditions


async def test_files_that_somebody_else_renews_are_taken_up(
    bootstrap: Bootstrap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("navarch.services.kubelet.certificates.files.FOLLOW_S", 0.05)
    lab = bootstrap.lab
    files = lab.directory / "tls.crt", lab.directory / "tls.key"
    lab.credentials("first").save(lab.directory / "ca.crt", *files)
    lab.options = {"serving_files": files}
    await lab.start_kubelet()
    first = await bootstrap.shown(lab.kubelet.port)
    assert first == ssl.PEM_cert_to_DER_cert(files[0].read_text())
    second = lab.credentials("second")
    files[0].write_bytes(second.cert)
    write_private(files[1], second.key)

    async def is_taken_up() -> bool:
        shown = {await bootstrap.shown(lab.kubelet.port), await bootstrap.shown(lab.kubelet.grpc_port)}
        return shown == {ssl.PEM_cert_to_DER_cert(second.cert.decode())}

    await lab.until(is_taken_up)
