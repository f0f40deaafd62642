"""Run every bench, the pure ones first."""

from __future__ import annotations

import os
import platform
import sys

from bench import compile as compiler
from bench import outside, services
from bench.report import Report

FLOWS = 50_000


def main() -> int:
    """Exit status 1 when a goal was missed that no slow machine excuses."""
    print(
        f"Python {platform.python_version()} on {platform.system()} {platform.release()}, {os.cpu_count()} CPUs"
    )
    report = Report()
    compiler.run(report)
    services.run(report)
    outside.run(report)
    from bench import codec  # noqa: PLC0415 - its parts would count in the compiler's memory

    report.section(f"Codec: {FLOWS:,} flows, also into a live switch")
    codec.main(FLOWS)
    from bench import churn  # noqa: PLC0415 - as above

    churn.run(report)
    from bench import kubernetes, on_api_server  # noqa: PLC0415 - as above

    kubernetes.run(report)
    on_api_server.run(report)
    for name in report.missed:
        print(f"missed: {name}")
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
