"""The roles that every cluster begins with, by user and by group, after Kubernetes' bootstrap policy.

Whoever is not named here may do nothing. `system:masters` may do everything, as everywhere in Kubernetes. The
controller manager may too: its loops act under its own name unless each has an account of its own
(`controller_roles`).
"""

from collections.abc import Mapping

from navarch.services.apiserver.auth.bootstrap_tokens import GROUP as BOOTSTRAPPERS
from navarch.services.apiserver.auth.controller_roles import CONTROLLERS
from navarch.services.apiserver.auth.roles import Role, role
from navarch.services.apiserver.auth.user import (
    AUTHENTICATED,
    SERVICE_ACCOUNTS,
    UNAUTHENTICATED,
    service_account_name,
)

PUBLIC_INFO = role("get /healthz /livez /readyz /version /version/")
DISCOVERY = role(
    "get /api /api/* /apis /apis/* /healthz /livez /readyz /openapi /openapi/* /version /version/",
)
BASIC_USER = role("""
    create selfsubjectaccessreviews@authorization.k8s.io selfsubjectrulesreviews@authorization.k8s.io
    create selfsubjectreviews@authentication.k8s.io
""")
ISSUER_DISCOVERY = role("get /.well-known/openid-configuration /openid/v1/jwks")
MONITORING = role("get /healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*")
# The part nodeclient is what the approver asks about: whether the request may be granted without a human.
NODE_BOOTSTRAPPER = role("""
    create,get,list,watch certificatesigningrequests@certificates.k8s.io
    create certificatesigningrequests/nodeclient@certificates.k8s.io
""")
EVERYTHING = role("* * /*")

_AUTHENTICATION_READER = "get,list,watch configmaps name=extension-apiserver-authentication in=kube-system"
_REVIEWER = "create tokenreviews@authentication.k8s.io subjectaccessreviews@authorization.k8s.io"
_EVENTS = "create,patch,update events events@events.k8s.io"

SCHEDULER = role(f"""
    {_EVENTS}
    create leases@coordination.k8s.io
    get,update leases@coordination.k8s.io name=kube-scheduler
    get,list,watch,update,patch,delete leases@coordination.k8s.io in=kube-system
    get,list,watch,create,update,patch,delete leasecandidates@coordination.k8s.io in=kube-system
    get,list,watch,delete pods
    create bindings pods/binding pods/eviction
    patch,update pods pods/status
    get,list,watch nodes namespaces services configmaps replicationcontrollers
    get,list,watch replicasets@apps statefulsets@apps deployments@apps daemonsets@apps
    get,list,watch poddisruptionbudgets@policy priorityclasses@scheduling.k8s.io
    get,list,watch,patch,update persistentvolumeclaims persistentvolumes
    get,list,watch storageclasses@storage.k8s.io csinodes@storage.k8s.io csidrivers@storage.k8s.io
    get,list,watch csistoragecapacities@storage.k8s.io volumeattachments@storage.k8s.io
    get,list,watch deviceclasses@resource.k8s.io resourceslices@resource.k8s.io devicetaintrules@resource.k8s.io
    get,list,watch,patch,update resourceclaims@resource.k8s.io
    patch,update resourceclaims/status@resource.k8s.io resourceclaims/binding@resource.k8s.io
    {_REVIEWER}
    {_AUTHENTICATION_READER}
""")
PROXY = role(f"""
    get,list,watch services endpoints nodes endpointslices@discovery.k8s.io servicecidrs@networking.k8s.io
    {_EVENTS}
""")
# Of each node's network agent. It reads all Nodes, which a kubelet may not; `rules` lets it say on its own alone.
NETWORK = role(f"""
    get,list,watch nodes
    patch nodes/status
    {_EVENTS}
""")
# Names for all that has some; and its own place behind the Service kube-dns, for as long as it lives.
DNS = role("""
    get,list,watch services namespaces endpointslices@discovery.k8s.io
    create services in=kube-system
    create,update,delete endpointslices@discovery.k8s.io in=kube-system
    get,create,update,delete leases@coordination.k8s.io in=kube-system
""")
# What a kubelet may do at all; `rules` narrows it down to what concerns its own node.
NODE = role(f"""
    get,list,watch,create,update,patch nodes
    update,patch nodes/status
    get,list,watch,create,delete pods
    get,update,patch pods/status
    create pods/eviction
    get,list,watch configmaps secrets services endpoints namespaces serviceaccounts endpointslices@discovery.k8s.io
    get,list,watch persistentvolumeclaims persistentvolumes
    get,update,patch persistentvolumeclaims/status
    create serviceaccounts/token
    get,list,watch runtimeclasses@node.k8s.io priorityclasses@scheduling.k8s.io storageclasses@storage.k8s.io
    get,list,watch csidrivers@storage.k8s.io
    get volumeattachments@storage.k8s.io
    get,create,update,patch,delete csinodes@storage.k8s.io
    get,list,watch,create,update,patch,delete leases@coordination.k8s.io
    get resourceclaims@resource.k8s.io
    get,list,watch,create,update,patch,delete,deletecollection resourceslices@resource.k8s.io
    get,list,watch,create certificatesigningrequests@certificates.k8s.io
    get,list,watch clustertrustbundles@certificates.k8s.io
    create certificatesigningrequests/selfnodeclient@certificates.k8s.io
    {_EVENTS}
    {_REVIEWER} localsubjectaccessreviews@authorization.k8s.io
    {_AUTHENTICATION_READER}
""")
CLOUD = role(f"""
    get,list,watch,update,patch,delete nodes
    patch,update nodes/status
    get,list,watch,update,patch services
    patch,update services/status
    get,create,update leases@coordination.k8s.io in=kube-system
    {_EVENTS}
""")
ANNOUNCER = role("get,list,watch services nodes endpointslices@discovery.k8s.io")
BY_USER: Mapping[str, Role] = {
    "system:navarch-announcer": ANNOUNCER,
    "system:cloud-controller-manager": CLOUD,
    "system:kube-scheduler": SCHEDULER,
    "system:kube-controller-manager": EVERYTHING,
    "system:kube-proxy": PROXY,
    "system:navarch-dns": DNS,
    **{service_account_name("kube-system", name): found for name, found in CONTROLLERS.items()},
}
BY_GROUP: Mapping[str, tuple[Role, ...]] = {
    AUTHENTICATED: (PUBLIC_INFO, DISCOVERY, BASIC_USER),
    UNAUTHENTICATED: (PUBLIC_INFO,),
    SERVICE_ACCOUNTS: (ISSUER_DISCOVERY,),
    BOOTSTRAPPERS: (NODE_BOOTSTRAPPER,),
    "system:monitoring": (MONITORING,),
}
