"""navarch.v1.Proxy: what the proxy knows, and where a packet would go."""

import grpc

from navarch.protos.navarch import proxy_pb2, proxy_pb2_grpc
from navarch.services.api.errors import BadRequest
from navarch.services.api.meta import split_key
from navarch.services.proxy.elements import Place, cluster_ip_element, frontend_elements, hairpin_element
from navarch.services.proxy.endpoints import Target
from navarch.services.proxy.families import canonical
from navarch.services.proxy.frontends import PROTOCOLS, Frontend, FrontendId
from navarch.services.proxy.state import ProxyState
from navarch.services.proxy.walk import Fate, Packet, ruleset, walk

Context = grpc.aio.ServicerContext[object, object]


class ProxyServicer(proxy_pb2_grpc.ProxyServicer):
    """Answers from the state; the kernel is not asked."""

    def __init__(self, state: ProxyState) -> None:
        self._state = state

    async def ListRules(self, request: proxy_pb2.ListRulesRequest, context: Context) -> proxy_pb2.ListRulesResponse:
        """The frontends of Services."""
        answer = proxy_pb2.ListRulesResponse()
        for key, rules in sorted(self._state.rules.items()):
            namespace, name = split_key(key)
            if (request.namespace or namespace) == namespace and (request.name or name) == name:
                answer.frontends.extend(_frontend(namespace, name, frontend) for frontend in rules.frontends)
        return answer

    async def Explain(
        self, request: proxy_pb2.ExplainPacketRequest, context: Context
    ) -> proxy_pb2.ExplainPacketResponse:
        """Walk a packet through the rules of the frontends it may concern."""
        packet = _packet(request)
        owner, fates = explain(self._state, packet)
        namespace, name = split_key(owner) if owner else ("", "")
        return proxy_pb2.ExplainPacketResponse(namespace=namespace, service=name, fates=[_fate(fate) for fate in fates])


def explain(state: ProxyState, packet: Packet) -> tuple[str, list[Fate]]:
    """The Service that the packet is for ("" for none), and what may become of it."""
    by_address = FrontendId(packet.family, packet.protocol, packet.destination, packet.port)
    by_port = FrontendId(packet.family, packet.protocol, "", packet.port)
    id = by_address if state.owner(by_address) is not None else by_port
    owner = state.owner(id)
    elements: dict[Place, str] = {}
    if owner is not None:
        frontend = next(frontend for frontend in state.rules[owner].frontends if frontend.id == id)
        elements = dict(frontend_elements(frontend, state.handling(frontend)))
    for place, _ in (hairpin_element(packet.source), cluster_ip_element(packet.destination)):
        if state.is_shared(place):
            elements[place] = ""
    fates = walk(ruleset(state.settings, state.chains, elements, state.node_ips), packet)
    # A node port's number at another address is nobody's.
    concerned = owner is not None and any(fate.target is not None or fate.verdict != "accept" for fate in fates)
    return (owner or "") if concerned else "", fates


def _packet(request: proxy_pb2.ExplainPacketRequest) -> Packet:
    source, destination = canonical(request.source), canonical(request.destination)
    for field, text, parsed in (
        ("source", request.source, source),
        ("destination", request.destination, destination),
    ):
        if parsed is None:
            raise BadRequest(f"{field}: {text!r} is no IP address")
    assert source is not None
    assert destination is not None
    if source[0] is not destination[0]:
        raise BadRequest(f"source {source[1]} and destination {destination[1]} are of different families")
    if request.protocol not in PROTOCOLS:
        raise BadRequest(f"protocol: {request.protocol!r}; one of {', '.join(PROTOCOLS)} is accepted")
    if not 0 < request.port < 65536:
        raise BadRequest(f"port: {request.port} is not between 1 and 65535")
    return Packet(source[1], destination[1], request.protocol, request.port, request.from_host)


def _target(target: Target) -> proxy_pb2.ProxyTarget:
    return proxy_pb2.ProxyTarget(address=target.address, port=target.port)


def _fate(fate: Fate) -> proxy_pb2.PacketFate:
    return proxy_pb2.PacketFate(
        verdict=fate.verdict,
        target=None if fate.target is None else _target(fate.target),
        masqueraded=fate.masqueraded,
        chains=fate.path,
    )


def _frontend(namespace: str, name: str, frontend: Frontend) -> proxy_pb2.ProxyFrontend:
    return proxy_pb2.ProxyFrontend(
        namespace=namespace,
        service=name,
        port_name=frontend.port_name,
        protocol=frontend.id.protocol,
        address=frontend.id.address,
        port=frontend.id.port,
        family=int(frontend.id.family),
        targets=[_target(target) for target in frontend.targets],
        local_only=frontend.local_only,
        local_targets=[_target(target) for target in frontend.local_targets],
        affinity_seconds=frontend.affinity_s,
        source_ranges=frontend.ranges,
        when_empty=frontend.empty,
    )
