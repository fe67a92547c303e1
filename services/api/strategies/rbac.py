"""Roles and their bindings. Their names only have to fit into a URL: "system:node"."""

from navarch.services.api.defaults.rbac import default_binding
from navarch.services.api.strategies.hooks import Hooks
from navarch.services.api.validation import rbac
from navarch.services.api.validation.names import path_segment

ROLE = Hooks(
    name_rule=path_segment,
    validate=rbac.validate_role,
    validate_update=lambda new, _: rbac.validate_role(new),
)
CLUSTER_ROLE = Hooks(
    name_rule=path_segment,
    validate=rbac.validate_cluster_role,
    validate_update=lambda new, _: rbac.validate_cluster_role(new),
)
BINDING = Hooks(
    name_rule=path_segment,
    default=default_binding,
    validate=rbac.validate_binding,
    validate_update=rbac.validate_binding_update,
)
