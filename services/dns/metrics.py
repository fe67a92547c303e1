"""The series of a DNS server, read from the plain numbers that it counts in; named as CoreDNS names its own."""

from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from navarch.services.dns.forward.forwarder import Forwarder
from navarch.services.dns.traffic import BUCKETS_S, Traffic
from navarch.services.dns.zone import Zone


class DnsCollector(Collector):
    """Gives the series at each scrape. unsent: responses that the kernel did not take."""

    def __init__(self, traffic: Traffic, forwarder: Forwarder, zone: Zone, unsent: Callable[[], int]) -> None:
        self._traffic = traffic
        self._forwarder = forwarder
        self._zone = zone
        self._unsent = unsent

    def collect(self) -> Iterator[Metric]:
        """All series as they are now."""
        responses = CounterMetricFamily("dns_responses", "Responses.", labels=("proto", "type", "rcode"))
        for labels, count in self._traffic.rows():
            responses.add_metric(labels, count)
        yield responses
        yield self._durations()
        yield CounterMetricFamily("dns_dropped", "Packets that got no response.", value=self._traffic.dropped)
        yield CounterMetricFamily("dns_unsent", "Responses that could not be sent.", value=self._unsent())
        yield GaugeMetricFamily("dns_services", "Services that have names.", value=len(self._zone))
        yield from self._forwarding()

    def _durations(self) -> HistogramMetricFamily:
        found = HistogramMetricFamily("dns_request_duration_seconds", "Time from query to response.")
        bounds = [*(str(each) for each in BUCKETS_S), "+Inf"]
        found.add_metric((), list(zip(bounds, accumulate(self._traffic.buckets), strict=True)), self._traffic.seconds)
        return found

    def _forwarding(self) -> Iterator[Metric]:
        cache, counts = self._forwarder.cache, self._forwarder.counts
        yield CounterMetricFamily("dns_cache_hits", "Outside names answered from memory.", value=cache.hits)
        yield CounterMetricFamily("dns_cache_misses", "Outside names that were not in memory.", value=cache.misses)
        yield GaugeMetricFamily("dns_cache_entries", "Replies in memory.", value=len(cache))
        yield CounterMetricFamily("dns_forward_requests", "Queries to upstream servers.", value=counts.requests)
        yield CounterMetricFamily(
            "dns_forward_overflows", "Questions refused, there being too many.", value=counts.overflows
        )
        yield CounterMetricFamily("dns_forward_stale", "Questions answered with old replies.", value=counts.stale)
        failures = CounterMetricFamily("dns_forward_failures", "Queries that failed.", labels=("to", "reason"))
        for labels, count in sorted(counts.failures.items()):
            failures.add_metric(labels, count)
        yield failures
