"""Lookup of flows: the highest priority that matches, by tuple space search (one hash table per set of masks)."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lace_sdn.openflow.fields import Field
    from lace_sdn.openflow.flow import Flow

Masks = tuple[tuple["Field", int], ...]


class _Subtable:
    """Flows whose matches have the same masks."""

    __slots__ = ("flows", "highest", "masks")

    def __init__(self, masks: Masks) -> None:
        self.masks = masks
        self.flows: dict[tuple[int, ...], Flow] = {}
        self.highest = -1

    def add(self, flow: Flow) -> None:
        key = tuple(term.value for term in flow.match.terms)
        held = self.flows.get(key)
        if held is None or held.priority < flow.priority:
            self.flows[key] = flow
        self.highest = max(self.highest, flow.priority)

    def find(self, fields: Mapping[Field, int]) -> Flow | None:
        """A field that the packet does not have matches nothing."""
        key = []
        for field, mask in self.masks:
            value = fields.get(field)
            if value is None:
                return None
            key.append(value & mask)
        return self.flows.get(tuple(key))


class TableIndex:
    """The flows of one program by table. Of overlapping flows of one priority any may be found, as in a switch."""

    def __init__(self, flows: Iterable[Flow]) -> None:
        tables: dict[int, dict[Masks, _Subtable]] = defaultdict(dict)
        for flow in flows:
            masks = tuple((term.field, term.mask) for term in flow.match.terms)
            subtables = tables[flow.table]
            if masks not in subtables:
                subtables[masks] = _Subtable(masks)
            subtables[masks].add(flow)
        self._tables = {
            number: sorted(each.values(), key=lambda subtable: -subtable.highest)
            for number, each in tables.items()
        }

    def find(self, table: int, fields: Mapping[Field, int]) -> Flow | None:
        """The flow of ``table`` that a packet with these fields hits; None: table miss."""
        best: Flow | None = None
        for subtable in self._tables.get(table, ()):
            if best is not None and best.priority >= subtable.highest:
                break
            found = subtable.find(fields)
            if found is not None and (best is None or found.priority > best.priority):
                best = found
        return best
