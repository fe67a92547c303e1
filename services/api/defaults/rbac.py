"""Defaults of role bindings: the API group of roles and subjects."""

from navarch.protos.k8s.rbac import v1_pb2 as rbacv1
from navarch.services.api.defaults.fill import fill

GROUP = "rbac.authorization.k8s.io"


def default_binding(binding: rbacv1.RoleBinding | rbacv1.ClusterRoleBinding) -> None:
    """Complete a RoleBinding or ClusterRoleBinding."""
    fill(binding.role_ref, api_group=GROUP)
    for subject in binding.subjects:
        if subject.kind in ("User", "Group"):
            fill(subject, api_group=GROUP)
