"""Which handler serves which part."""

from navarch.services.apiserver.doors.rest.call import Handler
from navarch.services.apiserver.doors.rest.routes import Part
from navarch.services.apiserver.doors.rest.streams.pods import PodStreams
from navarch.services.apiserver.doors.rest.streams.proxy import Proxy
from navarch.services.apiserver.kubelets.directory import Kubelets


def parts(kubelets: Kubelets, proxy: Proxy) -> dict[Part, Handler]:
    """By group, resource and subresource. The caller owns both arguments and closes them."""
    pods = PodStreams(kubelets)
    return {
        ("", "pods", "exec"): pods.exec,
        ("", "pods", "attach"): pods.attach,
        ("", "pods", "portforward"): pods.portforward,
        ("", "pods", "log"): pods.log,
        ("", "pods", "proxy"): proxy.pod,
        ("", "services", "proxy"): proxy.service,
        ("", "nodes", "proxy"): proxy.node,
    }
