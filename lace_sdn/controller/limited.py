"""Who was kept from using up what all share: what the limits dropped, told once when it begins and when it is over."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from lace_sdn.pipeline.constants import SECOND_ZONE
from lace_sdn.pipeline.limits import OTHER_PORTS, limit_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from lace_sdn.openflow.wire import Metered

log = logging.getLogger(__name__)


class Limited(NamedTuple):
    """Who (``Pod NAMESPACE/NAME``, or what else a limit is for), by a limit of which kind, and that limit in words for an operator."""

    who: str
    kind: str
    limit: str


@dataclass(slots=True)
class LimitWatch:
    """``totals``: what was dropped since this process began to look; ``now``: who was at a limit at the last look."""

    totals: dict[Limited, int] = field(default_factory=dict)
    _seen: dict[Limited, int] = field(default_factory=dict)
    now: frozenset[Limited] = frozenset()

    def note(
        self, dropped: Mapping[Limited, int], full: Collection[Limited] = ()
    ) -> Iterator[tuple[Limited, bool]]:
        """What is news: who is limited now, and who is not any more.

        ``dropped``: as the switch counts, which begins anew when it restarts. ``full``: who has all that it may have.
        """
        fresh = set(full)
        yield from ((each, True) for each in sorted(fresh - self.now))
        for each, count in dropped.items():
            before = self._seen.get(each, 0)
            more = count - before if count >= before else count
            if more:
                fresh.add(each)
                self.totals[each] = self.totals.get(each, 0) + more
                if each not in self.now:
                    yield each, True
        for each in sorted(self.now - fresh):
            yield each, False
        self._seen = dict(dropped)
        self.now = frozenset(fresh)


def by_meters(metered: Mapping[int, Metered], ports: Mapping[str, int]) -> dict[Limited, int]:
    """What meters have dropped. ``ports``: ofport by endpoint's id."""
    pods = {port: f"Pod {name}" for name, port in ports.items()}
    return {
        Limited(pods.get(limit.port, OTHER_PORTS), limit.kind, limit.text): counted.dropped
        for number, counted in metered.items()
        if (limit := limit_of(number)) is not None
    }


def by_zones(counts: Mapping[int, int], limits: Mapping[int, int], ports: Mapping[str, int]) -> set[Limited]:
    """Whose conntrack zones are full. ``counts`` and ``limits``: entries, by zone."""
    pods = {port: f"Pod {name}" for name, port in ports.items()}
    return {
        Limited(
            pods.get(zone & ~SECOND_ZONE, OTHER_PORTS), "connections", f"{limits[zone]} tracked connections"
        )
        for zone, count in counts.items()
        if count >= limits[zone]
    }


def tell(node: str, news: Iterable[tuple[Limited, bool]]) -> None:
    """What ``LimitWatch.note`` has found."""
    for each, is_limited in news:
        if is_limited:
            log.warning(
                "node=%s: %s is at its limit of %s; what is more is dropped, others are not affected",
                node,
                each.who,
                each.limit,
            )
        else:
            log.warning("node=%s: %s is below its limit of %s again", node, each.who, each.limit)
