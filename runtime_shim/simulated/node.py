"""CRI's calls about the runtime as a whole."""

import orjson

from navarch.protos.cri import v1_pb2 as criv1
from navarch.runtime_shim.simulated.sandboxes import HANDLERS

RUNTIME_NAME = "navarch-simulated"
RUNTIME_VERSION = "0.1.0"


class Node:
    """Always ready."""

    def __init__(self, pod_cidr: str) -> None:
        self._pod_cidr = pod_cidr

    async def version(self, request: criv1.VersionRequest) -> criv1.VersionResponse:
        """Of this simulation."""
        return criv1.VersionResponse(
            version="0.1.0", runtime_name=RUNTIME_NAME, runtime_version=RUNTIME_VERSION, runtime_api_version="v1"
        )

    async def status(self, request: criv1.StatusRequest) -> criv1.StatusResponse:
        """What only real processes could have is not among the features."""
        conditions = [criv1.RuntimeCondition(type=name, status=True) for name in ("RuntimeReady", "NetworkReady")]
        answer = criv1.StatusResponse(status=criv1.RuntimeStatus(conditions=conditions))
        for name in HANDLERS:
            answer.runtime_handlers.add(name=name)
        if request.verbose:
            answer.info["config"] = orjson.dumps({"podCIDR": self._pod_cidr}).decode()
        return answer

    async def runtime_config(self, request: criv1.RuntimeConfigRequest) -> criv1.RuntimeConfigResponse:
        """No cgroups, so the simplest driver."""
        return criv1.RuntimeConfigResponse(linux=criv1.LinuxRuntimeConfiguration(cgroup_driver=criv1.CGROUPFS))

    async def update_runtime_config(
        self, request: criv1.UpdateRuntimeConfigRequest
    ) -> criv1.UpdateRuntimeConfigResponse:
        """The Pod CIDR was given at the start."""
        return criv1.UpdateRuntimeConfigResponse()
