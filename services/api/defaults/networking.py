"""Defaults of IngressClasses and NetworkPolicies."""

from navarch.protos.k8s.networking import v1_pb2 as networkingv1
from navarch.services.api.defaults.fill import fill


def default_ingress_class(ingress_class: networkingv1.IngressClass) -> None:
    """Complete an IngressClass."""
    if ingress_class.spec.HasField("parameters"):
        fill(ingress_class.spec.parameters, scope="Cluster")


def default_network_policy(policy: networkingv1.NetworkPolicy) -> None:
    """Complete a NetworkPolicy: it is about what enters, and about what leaves if it has rules for that."""
    spec = policy.spec
    for rules in (spec.ingress, spec.egress):
        for rule in rules:
            for port in rule.ports:
                fill(port, protocol="TCP")
    if not spec.policy_types:
        spec.policy_types.extend(["Ingress", "Egress"] if spec.egress else ["Ingress"])
