"""Has images on the node as pull policies say. One pull of an image serves all that wait for it."""

import asyncio
import itertools
from collections.abc import Sequence

from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.base.clock import Clock
from navarch.services.kubelet.core import events_text as text
from navarch.services.kubelet.core import image_name
from navarch.services.kubelet.core.container_config import Image
from navarch.services.kubelet.core.image_auth import credentials_for
from navarch.services.kubelet.happenings import Happenings
from navarch.services.kubelet.runtime import Runtime, RuntimeFailure

PULLS_AT_ONCE = 4
REMEMBERED = 1000


class ImageRefusal(Exception):
    """An image is not to be had. reason: as a waiting container shows it."""

    def __init__(self, image: str, reason: str, message: str) -> None:
        super().__init__(message)
        self.image = image
        self.reason = reason


class Images:
    """The images of one node."""

    def __init__(self, runtime: Runtime, clock: Clock, happenings: Happenings) -> None:
        self._runtime = runtime
        self._clock = clock
        self._happenings = happenings
        self._pulls: dict[tuple[str, bytes], asyncio.Task[None]] = {}
        self._gate = asyncio.Semaphore(PULLS_AT_ONCE)
        self._known: dict[str, Image] = {}
        self.changes = 0

    async def ensure(
        self,
        pod: corev1.Pod,
        name: str,
        policy: str,
        secrets: Sequence[corev1.Secret],
        sandbox: criv1.PodSandboxConfig,
        container: str = "",
    ) -> str:
        """Have an image. Returns its reference. Raises ImageRefusal. container: whose it is; "" for a volume's."""
        if message := image_name.fault(name):
            self._happenings.tell(pod, "Warning", "InspectFailed", message, container)
            raise ImageRefusal(name, "InvalidImageName", message)
        present = None if policy == "Always" else await self._status(name)
        if present is not None:
            self._happenings.tell(pod, "Normal", "Pulled", text.present(name), container)
            return self._remember(present)
        if policy == "Never":
            message = text.absent(name)
            self._happenings.tell(pod, "Warning", "ErrImageNeverPull", message, container)
            raise ImageRefusal(name, "ErrImageNeverPull", message)
        self._happenings.tell(pod, "Normal", "Pulling", text.pulling(name), container)
        began = self._clock.monotonic()
        try:
            await self._pull(name, credentials_for(name, secrets), sandbox)
        except RuntimeFailure as failure:
            self._happenings.tell(pod, "Warning", "Failed", text.pull_failed(name, str(failure)), container)
            self._happenings.tell(pod, "Warning", "Failed", "Error: ErrImagePull", container)
            raise ImageRefusal(name, "ErrImagePull", str(failure)) from failure
        pulled = await self._status(name)
        if pulled is None:
            raise ImageRefusal(name, "ErrImagePull", f'image "{name}" is gone right after its pull')
        took_s = self._clock.monotonic() - began
        self._happenings.tell(pod, "Normal", "Pulled", text.pulled(name, took_s, pulled.size), container)
        self.changes += 1
        return self._remember(pulled)

    def changed(self) -> None:
        """An image has come or gone."""
        self.changes += 1

    def described(self, ref: str) -> Image:
        """What is known of an image that `ensure` returned."""
        return self._known.get(ref) or Image(ref)

    def _remember(self, image: criv1.Image) -> str:
        uid = image.uid.value if image.HasField("uid") else None
        self._known[image.id] = Image(image.id, uid, image.username, image.size)
        for old in list(itertools.islice(self._known, max(0, len(self._known) - REMEMBERED))):
            del self._known[old]
        return image.id

    async def _status(self, name: str) -> criv1.Image | None:
        try:
            return await self._runtime.image_status(name)
        except RuntimeFailure as failure:
            raise ImageRefusal(name, "ImageInspectError", f'Failed to inspect image "{name}": {failure}') from failure

    async def _pull(self, name: str, auth: criv1.AuthConfig | None, sandbox: criv1.PodSandboxConfig) -> None:
        key = (name, auth.SerializeToString(deterministic=True) if auth else b"")
        if key not in self._pulls:
            task = asyncio.ensure_future(self._pull_once(name, auth, sandbox))
            self._pulls[key] = task
            task.add_done_callback(lambda _: self._pulls.pop(key, None))
        await asyncio.shield(self._pulls[key])

    async def _pull_once(self, name: str, auth: criv1.AuthConfig | None, sandbox: criv1.PodSandboxConfig) -> None:
        async with self._gate:
            await self._runtime.pull_image(name, auth, sandbox)

    async def stop(self) -> None:
        """End the pulls that are under way."""
        tasks = list(self._pulls.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
