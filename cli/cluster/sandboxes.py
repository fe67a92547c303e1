"""Takes the Pods out of a CRI runtime that goes on when the cluster ends."""

import grpc

from navarch.cli.errors import UsageError
from navarch.protos.cri import v1_pb2 as criv1
from navarch.protos.cri import v1_pb2_grpc

# What a kubelet has made bears it.
UID_LABEL = "io.kubernetes.pod.uid"
CALL_TIMEOUT_S = 60.0


def remove_pods(endpoint: str) -> None:
    """Stop and remove every Pod that a kubelet has made there: a runtime serves one node. Raises UsageError."""
    with grpc.insecure_channel(endpoint.replace("unix://", "unix:")) as channel:
        runtime = v1_pb2_grpc.RuntimeServiceStub(channel)
        try:
            for box in runtime.ListPodSandbox(criv1.ListPodSandboxRequest(), timeout=CALL_TIMEOUT_S).items:
                if UID_LABEL in box.labels:
                    stop = criv1.StopPodSandboxRequest(pod_sandbox_id=box.id)
                    runtime.StopPodSandbox(stop, timeout=CALL_TIMEOUT_S)
                    remove = criv1.RemovePodSandboxRequest(pod_sandbox_id=box.id)
                    runtime.RemovePodSandbox(remove, timeout=CALL_TIMEOUT_S)
        except grpc.RpcError as failure:
            raise UsageError(f"the Pods in {endpoint} could not be removed: {failure.details()}") from failure
