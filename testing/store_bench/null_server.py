"""A store that does nothing, on the gRPC server that ours uses: what the store could reach at best."""

import asyncio
import sys
from typing import Any

import uvloop

from navarch.protos.etcd import rpc_pb2, rpc_pb2_grpc
from navarch.services.base.serving import GrpcServer


class _Nothing(rpc_pb2_grpc.KVServicer):
    async def Put(self, request: rpc_pb2.PutRequest, context: Any) -> rpc_pb2.PutResponse:
        return rpc_pb2.PutResponse()

    async def Range(self, request: rpc_pb2.RangeRequest, context: Any) -> rpc_pb2.RangeResponse:
        return rpc_pb2.RangeResponse()


async def serve(address: str) -> None:
    """Serve until killed."""
    server = GrpcServer(None, light=True)
    server.add(rpc_pb2_grpc.add_KVServicer_to_server, _Nothing())  # type: ignore[abstract]  # the generated class answers the rest with UNIMPLEMENTED
    await server.start(address)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
