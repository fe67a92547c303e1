"""CRI's calls about sandboxes."""

import orjson

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim import statuses
from navarch.runtime_shim.errors import InvalidArgument
from navarch.runtime_shim.lists import ListAnswers
from navarch.runtime_shim.simulated.pods import Pods

# What a RuntimeClass may name.
HANDLERS = ("", "runc")


class Sandboxes:
    """The sandbox half of RuntimeService."""

    def __init__(self, pods: Pods) -> None:
        self._pods = pods
        self._sandbox_lists = ListAnswers(self._listed_sandboxes)

    async def run_pod_sandbox(self, request: criv1.RunPodSandboxRequest) -> criv1.RunPodSandboxResponse:
        """Ready at once."""
        if request.runtime_handler not in HANDLERS:
            raise InvalidArgument(f"no runtime for {request.runtime_handler!r} is configured: there is {HANDLERS[1]}")
        sandbox = self._pods.run_sandbox(request.config, request.runtime_handler)
        return criv1.RunPodSandboxResponse(pod_sandbox_id=sandbox.record.id)

    async def stop_pod_sandbox(self, request: criv1.StopPodSandboxRequest) -> criv1.StopPodSandboxResponse:
        """Idempotent."""
        if sandbox := self._pods.find_sandbox(request.pod_sandbox_id):
            self._pods.stop_sandbox(sandbox)
        return criv1.StopPodSandboxResponse()

    async def remove_pod_sandbox(self, request: criv1.RemovePodSandboxRequest) -> criv1.RemovePodSandboxResponse:
        """Idempotent."""
        if sandbox := self._pods.find_sandbox(request.pod_sandbox_id):
            self._pods.remove_sandbox(sandbox)
        return criv1.RemovePodSandboxResponse()

    async def pod_sandbox_status(self, request: criv1.PodSandboxStatusRequest) -> criv1.PodSandboxStatusResponse:
        """With the statuses of its containers."""
        sandbox = self._pods.sandbox(request.pod_sandbox_id)
        answer = criv1.PodSandboxStatusResponse(
            status=statuses.sandbox_status(sandbox.record),
            containers_statuses=[statuses.container_status(one.record) for one in sandbox.containers.values()],
            timestamp=self._pods.now(),
        )
        if request.verbose:
            answer.info["info"] = orjson.dumps({"config": sandbox.record.document()["config"]}).decode()
        return answer

    async def list_pod_sandbox(self, request: criv1.ListPodSandboxRequest) -> criv1.ListPodSandboxResponse:
        """Filtered."""
        return self._sandbox_lists.get(request.filter, self._pods.change)

    def _listed_sandboxes(self, wanted: criv1.PodSandboxFilter) -> criv1.ListPodSandboxResponse:
        records = (sandbox.record for sandbox in self._pods.sandboxes.values())
        found = (record for record in records if statuses.sandbox_matches(record, wanted))
        return criv1.ListPodSandboxResponse(items=map(statuses.sandbox_item, found))

    async def update_pod_sandbox_resources(
        self, request: criv1.UpdatePodSandboxResourcesRequest
    ) -> criv1.UpdatePodSandboxResourcesResponse:
        """Kept in the sandbox's configuration."""
        linux = self._pods.sandbox(request.pod_sandbox_id).record.config.linux
        linux.overhead.CopyFrom(request.overhead)
        linux.resources.CopyFrom(request.resources)
        return criv1.UpdatePodSandboxResourcesResponse()
