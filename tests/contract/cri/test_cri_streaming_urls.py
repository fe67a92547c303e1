"""Exec, Attach, PortForward: the calls that answer a URL.

What is spoken there is tested beside the streaming server.
"""

from urllib.parse import urlsplit

import pytest

from navarch.protos.cri import v1_pb2 as criv1

from .conftest import Code, Peer, refused


async def test_urls(cri: Peer) -> None:
    sandbox = await cri.sandbox()
    container = await cri.container(sandbox)
    execution = criv1.ExecRequest(container_id=container, cmd=["true"], stdout=True, stderr=True)
    attachment = criv1.AttachRequest(container_id=container, stdout=True)
    forwarding = criv1.PortForwardRequest(pod_sandbox_id=sandbox, port=[80])
    answers = (
        ("exec", await cri.runtime.Exec(execution)),
        ("attach", await cri.runtime.Attach(attachment)),
        ("portforward", await cri.runtime.PortForward(forwarding)),
    )
    for kind, answer in answers:
        url = urlsplit(answer.url)
        assert (url.scheme, url.hostname) == ("http", "127.0.0.1")
        assert url.path.startswith(f"/{kind}/")
    again = await cri.runtime.Exec(execution)
    assert again.url != answers[0][1].url, "a URL is good for one use"


async def test_what_is_not_there(cri: Peer) -> None:
    with refused(Code.NOT_FOUND):
        await cri.runtime.Exec(criv1.ExecRequest(container_id="nosuch", cmd=["true"], stdout=True))
    with refused(Code.NOT_FOUND):
        await cri.runtime.Attach(criv1.AttachRequest(container_id="nosuch", stdout=True))
    with refused(Code.NOT_FOUND):
        await cri.runtime.PortForward(criv1.PortForwardRequest(pod_sandbox_id="nosuch", port=[80]))


async def test_what_does_not_run(cri: Peer) -> None:
    sandbox = await cri.sandbox()
    container = await cri.create(sandbox)
    code = cri.where(shim=Code.FAILED_PRECONDITION, plugin=Code.UNKNOWN, because="the plugin's error has no code")
    with refused(code):
        await cri.runtime.Exec(criv1.ExecRequest(container_id=container, cmd=["true"], stdout=True))
    with refused(code):
        await cri.runtime.Attach(criv1.AttachRequest(container_id=container, stdout=True))
    await cri.stop(sandbox)
    with refused(code):
        await cri.runtime.PortForward(criv1.PortForwardRequest(pod_sandbox_id=sandbox, port=[80]))


@pytest.mark.parametrize(
    "streams",
    [
        {},
        {"stdout": True, "stderr": True, "tty": True},
    ],
    ids=["none", "stderr of a terminal"],
)
async def test_streams_that_make_no_sense(cri: Peer, streams: dict[str, bool]) -> None:
    """The contract: one of stdin, stdout, stderr at least; no stderr with a terminal."""
    container = await cri.container(await cri.sandbox())
    codes = cri.where(
        shim=(Code.INVALID_ARGUMENT,), plugin=(Code.INVALID_ARGUMENT, Code.UNKNOWN), because="its error has no code"
    )
    with refused(*codes):
        await cri.runtime.Exec(criv1.ExecRequest(container_id=container, cmd=["true"], **streams))
    with refused(*codes):
        await cri.runtime.Attach(criv1.AttachRequest(container_id=container, **streams))
