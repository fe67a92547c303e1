"""Defaults of LimitRanges; canonical amounts of ResourceQuotas."""

from navarch.protos.k8s.core import v1_pb2 as corev1
from navarch.services.api.defaults.resources import adopt, canonical


def default_limit_range(limit_range: corev1.LimitRange) -> None:
    """Complete a LimitRange: a container's limit is its most, its request its limit or else its least."""
    for item in limit_range.spec.limits:
        for amounts in (item.max, item.min, item.default, item.default_request, item.max_limit_request_ratio):
            canonical(amounts)
        if item.type == "Container":
            adopt(item.default, item.max)
            adopt(item.default_request, item.default)
            adopt(item.default_request, item.min)


def default_quota(quota: corev1.ResourceQuota) -> None:
    """Complete a ResourceQuota."""
    for amounts in (quota.spec.hard, quota.status.hard, quota.status.used):
        canonical(amounts)
