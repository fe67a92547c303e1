"""What each loop of the controller manager needs, when it acts under an account of its own in kube-system.

Named as Kubernetes names them, for `kube-controller-manager --use-service-account-credentials`.
"""

from typing import Final

from navarch.services.apiserver.auth.roles import Role, role

_EVENTS = "create,patch,update events events@events.k8s.io"
_READ = "get,list,watch"
_PODS = f"""{_READ},create,delete,patch pods
    {_EVENTS}"""
_ALL_READ = f"{_READ} *"

_TEXTS: Final = {
    "attachdetach-controller": f"""
        {_READ} persistentvolumes persistentvolumeclaims nodes pods
        patch,update nodes/status
        {_READ},create,delete volumeattachments@storage.k8s.io
        {_READ} csidrivers@storage.k8s.io csinodes@storage.k8s.io
        {_EVENTS}""",
    "certificate-controller": f"""
        {_READ},delete certificatesigningrequests@certificates.k8s.io
        update,patch certificatesigningrequests/status@certificates.k8s.io
        update,patch certificatesigningrequests/approval@certificates.k8s.io
        approve,sign signers@certificates.k8s.io
        create subjectaccessreviews@authorization.k8s.io
        {_EVENTS}""",
    "clusterrole-aggregation-controller": f"""
        {_READ},escalate,patch,update clusterroles@rbac.authorization.k8s.io""",
    "cronjob-controller": f"""
        {_READ},update cronjobs@batch
        {_READ},create,update,delete,patch jobs@batch
        update cronjobs/status@batch cronjobs/finalizers@batch
        list,delete pods
        {_EVENTS}""",
    "daemon-set-controller": f"""
        {_READ} daemonsets@apps nodes
        update daemonsets/status@apps daemonsets/finalizers@apps
        {_READ},create,delete,patch,update controllerrevisions@apps
        create pods/binding
        {_PODS}""",
    "deployment-controller": f"""
        {_READ},update deployments@apps
        update deployments/status@apps deployments/finalizers@apps
        {_READ},create,update,patch,delete replicasets@apps
        {_READ},update pods
        {_EVENTS}""",
    "disruption-controller": f"""
        {_READ} pods deployments@apps replicasets@apps replicationcontrollers statefulsets@apps
        {_READ} poddisruptionbudgets@policy
        update,patch poddisruptionbudgets/status@policy pods/status
        get */scale
        {_EVENTS}""",
    "endpoint-controller": f"""
        {_READ} services pods
        {_READ},create,update,delete endpoints
        create endpoints/restricted
        {_EVENTS}""",
    "endpointslice-controller": f"""
        {_READ} services pods nodes
        update services/finalizers
        {_READ},create,update,delete endpointslices@discovery.k8s.io
        create endpointslices/restricted@discovery.k8s.io
        {_EVENTS}""",
    "endpointslicemirroring-controller": f"""
        {_READ} services endpoints
        update services/finalizers endpoints/finalizers
        {_READ},create,update,delete endpointslices@discovery.k8s.io
        create endpointslices/restricted@discovery.k8s.io
        {_EVENTS}""",
    "ephemeral-volume-controller": f"""
        {_READ} pods
        update pods/finalizers
        {_READ},create persistentvolumeclaims
        {_EVENTS}""",
    "expand-controller": f"""
        {_READ},update,patch persistentvolumes
        {_READ} persistentvolumeclaims storageclasses@storage.k8s.io
        update,patch persistentvolumeclaims/status
        {_EVENTS}""",
    "generic-garbage-collector": f"""
        get,list,watch,patch,update,delete *
        {_EVENTS}""",
    "horizontal-pod-autoscaler": f"""
        {_READ} horizontalpodautoscalers@autoscaling pods
        update horizontalpodautoscalers/status@autoscaling
        get,update */scale
        list pods@metrics.k8s.io
        {_EVENTS}""",
    "job-controller": f"""
        {_READ},update,patch jobs@batch
        update jobs/status@batch jobs/finalizers@batch
        {_PODS}""",
    "legacy-service-account-token-cleaner": f"""
        get configmaps name=kube-apiserver-legacy-service-account-token-tracking in=kube-system
        delete,patch,update secrets
        {_READ} pods secrets""",
    "namespace-controller": f"""
        {_READ},delete namespaces
        update namespaces/finalize namespaces/status
        get,list,delete,deletecollection *""",
    "node-controller": f"""
        {_READ},update,delete,patch nodes
        patch,update nodes/status pods/status
        {_READ},delete pods
        {_READ} leases@coordination.k8s.io
        {_EVENTS}""",
    "persistent-volume-binder": f"""
        {_READ},update,create,delete,patch persistentvolumes
        update persistentvolumes/status persistentvolumeclaims/status
        {_READ},update persistentvolumeclaims
        {_READ},create,delete,update pods
        get,create,delete services endpoints
        get,list nodes
        get secrets
        {_READ} storageclasses@storage.k8s.io
        {_EVENTS}""",
    "pod-garbage-collector": f"""
        {_READ},delete pods
        get,list,watch nodes
        patch pods/status""",
    "pv-protection-controller": f"""
        {_READ},update persistentvolumes
        {_EVENTS}""",
    "pvc-protection-controller": f"""
        {_READ},update persistentvolumeclaims
        update,patch persistentvolumeclaims/status
        {_READ} pods
        {_EVENTS}""",
    "replicaset-controller": f"""
        {_READ},update replicasets@apps
        update replicasets/status@apps replicasets/finalizers@apps
        {_PODS}""",
    "replication-controller": f"""
        {_READ},update replicationcontrollers
        update replicationcontrollers/status replicationcontrollers/finalizers
        {_PODS}""",
    "resource-claim-controller": f"""
        {_READ} pods resourceclaimtemplates@resource.k8s.io deviceclasses@resource.k8s.io
        update pods/finalizers
        update,patch pods/status resourceclaims/status@resource.k8s.io
        {_READ},create,delete,update resourceclaims@resource.k8s.io
        {_EVENTS}""",
    "resourcequota-controller": f"""
        {_ALL_READ}
        update resourcequotas/status
        {_EVENTS}""",
    "root-ca-cert-publisher": f"""
        {_READ},create,update configmaps
        {_READ} namespaces
        {_EVENTS}""",
    "route-controller": f"""
        {_READ} nodes
        patch nodes/status
        {_EVENTS}""",
    "service-account-controller": f"""
        {_READ},create serviceaccounts
        {_READ} namespaces
        {_EVENTS}""",
    "service-controller": f"""
        {_READ} services nodes
        patch,update services/status
        {_EVENTS}""",
    "service-cidrs-controller": f"""
        {_READ},patch,update servicecidrs@networking.k8s.io
        patch,update servicecidrs/finalizers@networking.k8s.io servicecidrs/status@networking.k8s.io
        {_READ} ipaddresses@networking.k8s.io
        {_EVENTS}""",
    "statefulset-controller": f"""
        {_READ} statefulsets@apps
        update statefulsets/status@apps statefulsets/finalizers@apps
        {_READ},create,delete,patch,update controllerrevisions@apps
        {_READ},create,delete,patch,update pods
        {_READ},create,delete,update persistentvolumeclaims
        {_EVENTS}""",
    "storage-version-migrator-controller": """
        get,list,watch,update,patch *""",
    "taint-eviction-controller": f"""
        {_READ},delete pods
        get nodes
        {_READ} nodes
        patch,update pods/status
        {_EVENTS}""",
    "ttl-after-finished-controller": f"""
        {_READ},delete jobs@batch
        {_EVENTS}""",
    "ttl-controller": f"""
        {_READ},update,patch nodes
        {_EVENTS}""",
    "validatingadmissionpolicy-status-controller": f"""
        {_READ} validatingadmissionpolicies@admissionregistration.k8s.io
        get,patch,update validatingadmissionpolicies/status@admissionregistration.k8s.io
        {_EVENTS}""",
    "volumeattributesclass-protection-controller": f"""
        {_READ},update,patch volumeattributesclasses@storage.k8s.io
        {_READ} persistentvolumeclaims persistentvolumes
        {_EVENTS}""",
}
CONTROLLERS: Final[dict[str, Role]] = {name: role(text) for name, text in _TEXTS.items()}
