"""What an operator counts, for Prometheus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

if TYPE_CHECKING:
    from collections import Counter as Tally

    from lace_sdn.operator.writes import Write


class Metrics:
    """In a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.leading = Gauge("lace_operator_leading", "Whether this operator leads.", registry=self.registry)
        self.seconds = Histogram(
            "lace_operator_work_seconds",
            "From a change to the last write that followed from it, where there was one.",
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
            registry=self.registry,
        )
        self.report_seconds = Gauge(
            "lace_operator_report_seconds", "How long the last round of status took.", registry=self.registry
        )
        self._writes = Counter(
            "lace_operator_writes",
            "Allocations, keys and finalizers written, by what; outdated: the server knew better.",
            ["write", "result"],
            registry=self.registry,
        )
        self._statuses = Counter(
            "lace_operator_statuses", "Statuses and Events written.", registry=self.registry
        )
        self._lacking = Gauge(
            "lace_operator_lacking_networks",
            "Networks without a key, and those whose nodes lack blocks.",
            ["what"],
            registry=self.registry,
        )
        self._unenforced = Gauge(
            "lace_not_enforced_objects",
            "Objects that ask for what this version does not enforce.",
            ["kind", "reason"],
            registry=self.registry,
        )

    def wrote(self, write: Write, is_done: bool) -> None:
        self._writes.labels(type(write).__name__, "done" if is_done else "outdated").inc()

    def reported(self, writes: int, unenforced: Tally[tuple[str, str]]) -> None:
        self._statuses.inc(writes)
        self._unenforced.clear()
        for (kind, reason), count in unenforced.items():
            self._unenforced.labels(kind, reason).set(count)

    def lacks(self, keys: int, blocks: int) -> None:
        self._lacking.labels("key").set(keys)
        self._lacking.labels("block").set(blocks)
