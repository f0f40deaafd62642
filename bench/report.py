"""Figures for people. A goal that is missed is said, and fails the run only where time plays no part."""

from __future__ import annotations


class Report:
    """Prints each figure as it is measured and remembers which goals were missed."""

    def __init__(self) -> None:
        self.missed: list[str] = []

    def section(self, title: str) -> None:
        print(f"\n{title}")

    def figure(self, name: str, value: float, unit: str, note: str = "") -> None:
        """A figure that fails nothing."""
        shown = f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.2f}"
        print(f"  {name:<58} {shown:>12} {unit:<8} {note}".rstrip(), flush=True)

    def goal(
        self, name: str, value: float, unit: str, *, least: float = 0, most: float = float("inf")
    ) -> None:
        """A ratio, a count or a size, which does not depend on how fast the machine is."""
        is_met = least <= value <= most
        bound = f"at most {most:,.10g}" if most != float("inf") else f"at least {least:,.10g}"
        self.figure(name, value, unit, f"goal: {bound}{'' if is_met else '  MISSED'}")
        if not is_met:
            self.missed.append(name)
