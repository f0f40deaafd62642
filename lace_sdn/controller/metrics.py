"""What a node's controller counts, for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lace_sdn.controller.api_world import ApiWorld
    from lace_sdn.controller.limited import LimitWatch
    from lace_sdn.controller.node_state import Report

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class NodeMetrics:
    """In a registry of its own."""

    def __init__(self, world: ApiWorld, limits: Callable[[], LimitWatch]) -> None:
        """``limits``: who is limited, now."""
        self.registry = CollectorRegistry()
        self._flows = Gauge("lace_flows", "Flows on the bridge.", registry=self.registry)
        self._groups = Gauge("lace_groups", "Groups on the bridge.", registry=self.registry)
        self._endpoints = Gauge(
            "lace_endpoints", "Pods whose flows are on the bridge.", registry=self.registry
        )
        self._programmed = Counter(
            "lace_programmed", "How often the bridge was brought to other objects.", registry=self.registry
        )
        self._seconds = Histogram(
            "lace_programming_seconds",
            "From the word of the API server to the confirmation of the switch.",
            registry=self.registry,
            buckets=_SECONDS,
        )
        self.registry.register(_Watches(world))
        self.registry.register(_Limits(limits))

    def note(self, report: Report) -> None:
        """The bridge holds this now."""
        self._flows.set(report.flows)
        self._groups.set(report.groups)
        self._endpoints.set(report.endpoints)
        self._programmed.inc()
        self._seconds.observe(report.milliseconds / 1000)


class _Limits:
    """What was dropped because somebody was at a limit."""

    def __init__(self, limits: Callable[[], LimitWatch]) -> None:
        self._limits = limits

    def collect(self) -> Iterator[Any]:
        dropped = CounterMetricFamily(
            "lace_limited", "What was dropped of somebody who was at a limit.", labels=["who", "limit"]
        )
        at_limit = GaugeMetricFamily("lace_at_limit", "Who is at a limit now.", labels=["who", "limit"])
        watch = self._limits()
        for each, count in dict(watch.totals).items():
            dropped.add_metric([each.who, each.kind], count)
        for each in watch.now:
            at_limit.add_metric([each.who, each.kind], 1)
        return iter((dropped, at_limit))


class _Watches:
    """The reflectors' own counts, read when somebody asks."""

    def __init__(self, world: ApiWorld) -> None:
        self._world = world

    def collect(self) -> Iterator[Any]:
        synced = GaugeMetricFamily("lace_watch_synced", "Whether a kind was listed.", labels=["resource"])
        troubled = GaugeMetricFamily(
            "lace_watch_troubled", "Whether a kind cannot be watched now.", labels=["resource"]
        )
        events = CounterMetricFamily("lace_watch_events", "Events of the API server.", labels=["resource"])
        errors = CounterMetricFamily("lace_watch_errors", "Failed lists and watches.", labels=["resource"])
        lists = CounterMetricFamily("lace_watch_lists", "Whole lists.", labels=["resource"])
        for each in self._world.reflectors:
            name = [each.resource.plural]
            synced.add_metric(name, float(each.store.is_synced))
            troubled.add_metric(name, float(bool(each.trouble)))
            events.add_metric(name, each.statistics.events)
            errors.add_metric(name, each.statistics.errors)
            lists.add_metric(name, each.statistics.lists)
        return iter((synced, troubled, events, errors, lists))
