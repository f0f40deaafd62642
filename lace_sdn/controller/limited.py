"""Who was kept from using up what all share: what the limits dropped, told once when it begins and when it is over."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from lace_sdn.pipeline.limits import OTHER_PORTS, limit_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lace_sdn.openflow.wire import Metered

log = logging.getLogger(__name__)


class Limited(NamedTuple):
    """Who (``Pod NAMESPACE/NAME``, or what else a limit is for), by a limit of which kind, and that limit in words for an operator."""

    who: str
    kind: str
    limit: str


@dataclass(slots=True)
class LimitWatch:
    """``totals``: what was dropped since this process began to look."""

    totals: dict[Limited, int] = field(default_factory=dict)
    _seen: dict[Limited, int] = field(default_factory=dict)
    _now: set[Limited] = field(default_factory=set)

    def note(self, dropped: Mapping[Limited, int]) -> Iterator[tuple[Limited, int]]:
        """What is news: who is limited now, and how many were dropped since; 0 for who is not any more.

        ``dropped``: as the switch counts, which begins anew when it restarts.
        """
        fresh: set[Limited] = set()
        for each, count in dropped.items():
            before = self._seen.get(each, 0)
            more = count - before if count >= before else count
            if more:
                fresh.add(each)
                self.totals[each] = self.totals.get(each, 0) + more
                if each not in self._now:
                    yield each, more
        for each in sorted(self._now - fresh):
            yield each, 0
        self._seen = dict(dropped)
        self._now = fresh


def by_meters(metered: Mapping[int, Metered], ports: Mapping[str, int]) -> dict[Limited, int]:
    """What meters have dropped. ``ports``: ofport by endpoint's id."""
    pods = {port: f"Pod {name}" for name, port in ports.items()}
    return {
        Limited(pods.get(limit.port, OTHER_PORTS), limit.kind, limit.text): counted.dropped
        for number, counted in metered.items()
        if (limit := limit_of(number)) is not None
    }


def tell(node: str, news: Iterable[tuple[Limited, int]]) -> None:
    """What ``LimitWatch.note`` has found."""
    for each, count in news:
        if count:
            log.warning(
                "node=%s: %s is at its limit of %s: %d dropped since the last look",
                node,
                each.who,
                each.limit,
                count,
            )
        else:
            log.warning("node=%s: %s is below its limit of %s again", node, each.who, each.limit)
