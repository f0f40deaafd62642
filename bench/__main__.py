"""Run every bench, the pure ones first."""

from __future__ import annotations

import os
import platform
import sys
from importlib import import_module

from bench.report import Report

BENCHES = ("bench.compile", "bench.codec")


def main() -> int:
    """Exit status 1 when a goal was missed that no slow machine excuses."""
    print(
        f"Python {platform.python_version()} on {platform.system()} {platform.release()}, {os.cpu_count()} CPUs"
    )
    report = Report()
    for name in BENCHES:
        import_module(name).run(report)
    for name in report.missed:
        print(f"missed: {name}")
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
