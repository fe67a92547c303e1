"""What the proxy counts, under the names that kube-proxy uses."""

from navarch.services.base.metrics import Metrics

# From a millisecond to the minutes of an overloaded cluster; as kube-proxy, but finer where we are.
PROGRAMMING_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class Measures:
    """Of one proxy."""

    def __init__(self, metrics: Metrics) -> None:
        prefix = "kubeproxy_"
        self.sync = metrics.histogram(f"{prefix}sync_proxy_rules_duration_seconds", "Time of a sync.")
        self.full = metrics.histogram(f"{prefix}sync_full_proxy_rules_duration_seconds", "Of the whole table.")
        self.partial = metrics.histogram(f"{prefix}sync_partial_proxy_rules_duration_seconds", "Of changes only.")
        self.programming = metrics.histogram(
            f"{prefix}network_programming_duration_seconds",
            "From a change of a Pod or Service to the kernel's.",
            buckets=PROGRAMMING_BUCKETS_S,
        )
        self.last_sync = metrics.gauge(
            f"{prefix}sync_proxy_rules_last_timestamp_seconds", "When the last sync succeeded."
        )
        self.last_queued = metrics.gauge(
            f"{prefix}sync_proxy_rules_last_queued_timestamp_seconds", "When something to do came last."
        )
        self.service_changes = metrics.counter(f"{prefix}sync_proxy_rules_service_changes", "Services that changed.")
        self.endpoint_changes = metrics.counter(f"{prefix}sync_proxy_rules_endpoint_changes", "Slices that changed.")
        self.failures = metrics.counter(
            f"{prefix}sync_proxy_rules_nftables_sync_failures", "Transactions that nft refused."
        )
        self.stale_flows = metrics.counter(
            f"{prefix}conntrack_reconciler_deleted_entries", "Flows deleted that led to nowhere."
        )
        self.restored = metrics.counter("navarch_proxy_restored", "Times that others' changes were undone.")
        self.services = metrics.gauge("navarch_proxy_services", "Services that have rules.")
        self.left_out = metrics.gauge("navarch_proxy_services_left_out", "Services that the kernel cannot have.")
        self.chains = metrics.gauge("navarch_proxy_chains", "Chains that frontends lead to.")
        self.changed = metrics.histogram(
            "navarch_proxy_transaction_size",
            "Chains and elements a transaction changes.",
            buckets=(1, 3, 10, 100, 1000),
        )
