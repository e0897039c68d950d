"""Every metric of the agent, in one place, and the page that shows them.

Series that the configuration implies exist from the start, at 0, and go when a reload takes their object away. No
label takes a value that a caller or a device chooses.
"""

import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from agent import __version__
from agent.alarms.model import Kind
from agent.faults import FaultClass

OUTCOMES = ("ok", *(fault.value for fault in FaultClass))
CLIENT_STATES = ("new", "pending_import", "imported", "import_failed")
_POLL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LATENCY_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0, 86400.0)


class Metrics:
    """The agent's registry. Attributes are prometheus-client objects named as the metric without `varde_`."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series a counter that nobody asks for
        registry = self.registry = CollectorRegistry()
        self.build_info = Gauge("varde_build_info", "1, with the version of the agent.", ["version"], registry=registry)
        self.build_info.labels(__version__).set(1)
        self.source_up = Gauge("varde_source_up", "1 while the device answers.", ["source", "kind"], registry=registry)
        self.source_polls = Counter(
            "varde_source_polls_total", "Polls, by how they ended.", ["source", "outcome"], registry=registry
        )
        self.source_poll_seconds = Histogram(
            "varde_source_poll_seconds", "Time a poll took.", ["source"], buckets=_POLL_BUCKETS, registry=registry
        )
        self.alarms = Counter("varde_alarms_total", "Alarms journalled.", ["source", "kind"], registry=registry)
        self.alarm_latency_seconds = Histogram(
            "varde_alarm_latency_seconds",
            "From occurrence at the device to the journal.",
            ["source"],
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self.sink_up = Gauge("varde_sink_up", "1 while a receiver of the sink answers.", ["sink"], registry=registry)
        self.deliveries = Counter(
            "varde_deliveries_total", "Tries to deliver, by how they ended.", ["sink", "outcome"], registry=registry
        )
        self.deliveries_held = Counter(
            "varde_deliveries_held_total", "Alarms held back by flapping protection.", ["sink"], registry=registry
        )
        self.delivery_latency_seconds = Histogram(
            "varde_delivery_latency_seconds",
            "From the journal to the acknowledgement.",
            ["sink"],
            buckets=_LATENCY_BUCKETS,
            registry=registry,
        )
        self.outbox_pending = Gauge("varde_outbox_pending", "Alarms not yet delivered.", ["sink"], registry=registry)
        self.outbox_oldest_seconds = Gauge(
            "varde_outbox_oldest_seconds",
            "Age of the oldest of them, 0 when there is none.",
            ["sink"],
            registry=registry,
        )
        self.patriot_requests = Counter(
            "varde_patriot_requests_total",
            "Requests to the Patriot client API.",
            ["method", "route", "status"],
            registry=registry,
        )
        self.patriot_request_seconds = Histogram(
            "varde_patriot_request_seconds", "Time a request took.", ["route"], registry=registry
        )
        self.clients = Gauge("varde_clients", "Registered clients, by import state.", ["state"], registry=registry)
        self.batches = Counter("varde_batches_total", "Batches, by how they ended.", ["outcome"], registry=registry)
        self.batch_clients = Gauge("varde_batch_clients", "Clients in the last batch.", registry=registry)
        self.share_up = Gauge("varde_share_up", "1 while the share answers.", registry=registry)
        self.share_last_success = Gauge(
            "varde_share_last_success_timestamp_seconds", "When the share was last read or written.", registry=registry
        )
        self.keys_file_valid = Gauge(
            "varde_keys_file_valid", "1 while every entry of the key file can be used.", registry=registry
        )
        self.time_seconds = Gauge(
            "varde_time_seconds", "This machine's clock when scraped; compare with timestamp().", registry=registry
        )
        self.time_seconds.set_function(time.time)
        self.media_discarded = Counter(
            "varde_media_discarded_total", "Pictures and videos removed or not kept.", ["reason"], registry=registry
        )
        for state in CLIENT_STATES:
            self.clients.labels(state)
        for outcome in OUTCOMES:
            self.batches.labels(outcome)
        for reason in ("age", "bytes", "disk", "size"):
            self.media_discarded.labels(reason)

    def add_source(self, name: str, kind: str) -> None:
        self.source_up.labels(name, kind)
        self.source_poll_seconds.labels(name)
        self.alarm_latency_seconds.labels(name)
        for outcome in OUTCOMES:
            self.source_polls.labels(name, outcome)
        for alarm_kind in Kind:
            self.alarms.labels(name, alarm_kind.value)

    def remove_source(self, name: str, kind: str) -> None:
        self.source_up.remove(name, kind)
        self.source_poll_seconds.remove(name)
        self.alarm_latency_seconds.remove(name)
        _remove_all(self.source_polls, ((name, outcome) for outcome in OUTCOMES))
        _remove_all(self.alarms, ((name, alarm_kind.value) for alarm_kind in Kind))

    def add_sink(self, name: str) -> None:
        for metric in (self.sink_up, self.deliveries_held, self.outbox_pending, self.outbox_oldest_seconds):
            metric.labels(name)
        self.delivery_latency_seconds.labels(name)
        for outcome in OUTCOMES:
            self.deliveries.labels(name, outcome)

    def remove_sink(self, name: str) -> None:
        for metric in (self.sink_up, self.deliveries_held, self.outbox_pending, self.outbox_oldest_seconds):
            metric.remove(name)
        self.delivery_latency_seconds.remove(name)
        _remove_all(self.deliveries, ((name, outcome) for outcome in OUTCOMES))

    def watch_disk(self, state_dir: Path) -> None:
        """`varde_disk_free_bytes`, read when scraped."""
        self.registry.register(_DiskFree(state_dir))

    def before_scrape(self, refresh: Callable[[], None]) -> None:
        """Call `refresh` (quick, no I/O) before each page: for gauges that age by themselves."""
        self.registry.register(_Refresh(refresh))


def _remove_all(metric: Counter, labels: Iterable[tuple[str, ...]]) -> None:
    for values in labels:
        metric.remove(*values)


class _DiskFree(Collector):
    def __init__(self, path: Path) -> None:
        self.path = path

    def collect(self) -> Iterable[GaugeMetricFamily]:
        family = GaugeMetricFamily("varde_disk_free_bytes", "Free bytes where the state directory is.")
        try:
            family.add_metric([], shutil.disk_usage(self.path).free)
        except OSError:
            return []  # no series is truer than a false one
        return [family]


class _Refresh(Collector):
    def __init__(self, refresh: Callable[[], None]) -> None:
        self.refresh = refresh

    def collect(self) -> Iterable[GaugeMetricFamily]:
        self.refresh()
        return []

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return []
