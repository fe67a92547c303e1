"""Runtime handlers, as RuntimeClasses name them: which runtime runs a sandbox's containers."""

import json
from pathlib import Path

from navarch.protos.cri import v1_pb2 as criv1
from navarch.testing.private_containerd import OTHER_HANDLER

from .conftest import Code, Peer, refused


def calls(cri: Peer) -> str:
    """What the other handler's program was called with."""
    path: Path = cri.containerd.other_runc.parent / "calls"
    return path.read_text() if path.exists() else ""


async def test_containers_run_under_their_sandbox_s_handler(cri: Peer) -> None:
    config = cri.sandbox_config("other", host_network=True)
    config.linux.security_context.namespace_options.pid = criv1.NamespaceMode.POD
    sandbox = await cri.sandbox(config, handler=OTHER_HANDLER)
    assert (await cri.sandbox_status(sandbox)).runtime_handler == OTHER_HANDLER
    container = await cri.container(sandbox)
    assert await cri.shell(container, "echo works") == "works\n"
    # The first process of the shared PID namespace too.
    assert sandbox in calls(cri)
    assert container in calls(cri)
    await cri.stop_container(container, 0)
    assert (await cri.status(container)).exit_code == 137


async def test_the_default_handler_is_another(cri: Peer) -> None:
    for handler in ("", "runc"):
        container = await cri.container(await cri.sandbox(handler=handler))
        assert container not in calls(cri)


async def test_an_unknown_handler_is_refused(cri: Peer) -> None:
    code = cri.where(shim=Code.INVALID_ARGUMENT, plugin=Code.UNKNOWN, because="the plugin's error has no code")
    with refused(code, match="no runtime for .*nosuch.* is configured"):
        await cri.sandbox(handler="nosuch")


async def test_status_tells_of_them(cri: Peer) -> None:
    info = (await cri.runtime.Status(criv1.StatusRequest(verbose=True))).info
    assert set(json.loads(info["config"])["containerd"]["runtimes"]) == {"runc", OTHER_HANDLER}
