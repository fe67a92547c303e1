"""navarch.v1.ControllerManager: which loops run here and how they fare."""

from collections.abc import Callable
from typing import Any

import grpc

from navarch.protos.navarch import controllers_pb2, controllers_pb2_grpc
from navarch.services.client.controller import Controller
from navarch.services.controller_manager.term import Term


class ControllerManagerServicer(controllers_pb2_grpc.ControllerManagerServicer):
    """Answers from the present term; term: None while another process leads."""

    def __init__(self, term: Callable[[], Term | None]) -> None:
        self._term = term

    async def ListControllers(
        self,
        request: controllers_pb2.ListControllersRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> controllers_pb2.ListControllersResponse:
        """All loops, in the order of their start."""
        term = self._term()
        loops = term.controllers if term is not None else ()
        return controllers_pb2.ListControllersResponse(leader=term is not None, controllers=map(_describe, loops))


def _describe(controller: Controller) -> controllers_pb2.Controller:
    statistics = controller.statistics
    return controllers_pb2.Controller(
        name=controller.name,
        running=controller.running,
        queue_depth=len(controller.queue),
        retrying=controller.queue.retrying,
        reconciles=statistics.reconciles,
        errors=statistics.errors,
        last_error=statistics.last_error,
    )
