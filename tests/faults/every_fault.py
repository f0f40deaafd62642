"""``make faults``: a fault at every I/O call of a controller, from a folder and from an API server, while it changes and while it starts.

Prints a line a failure and a table at the end; exits with 1 if anything did not converge. ``--folder``, ``--api``: that source alone.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from faulty import Case, FaultySite, Source, kinds_of
from sources import ApiOf, FolderOf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from multiprocessing.queues import Queue

SECONDS = 5.0
SHARE = 6
"""One in so many sites, of what a sample has not all of."""
SOURCES: dict[str, type[Source]] = {"folder": FolderOf, "api": ApiOf}


@dataclass(frozen=True)
class Task:
    """``moment``: "change" or "start"."""

    source: str
    moment: str
    case: Case


@dataclass
class Result:
    task: Task
    seconds: float = 0.0
    revoked: float = 0.0
    has_failed: bool = True
    trouble: str = ""


@dataclass
class Sites:
    """One a source, made when it is needed, and anew after a failure."""

    made: dict[str, FaultySite] = field(default_factory=dict)
    former: dict[str, Task] = field(default_factory=dict)
    """What each of them suffered last: it may show only now."""

    def of(self, source: str) -> FaultySite:
        if source not in self.made:
            self.made[source] = FaultySite(SOURCES[source]()).__enter__()
        return self.made[source]

    def drop(self, source: str) -> None:
        if source in self.made:
            self.made.pop(source).close()
            self.former.pop(source, None)


def carry_out(sites: Sites, task: Task) -> Result:
    former = sites.former.get(task.source)
    try:
        site = sites.of(task.source)
        sites.former[task.source] = task
        if task.moment == "start":
            return Result(task, site.suffer_at_start(task.case))
        its = site.suffer(task.case)
        return Result(task, its.converged, its.revoked, its.has_failed)
    except Exception as error:  # noqa: BLE001 - each case stands for itself
        made = sites.made.get(task.source)
        log = made.log[-1500:] if made else ""
        sites.drop(task.source)
        before = f", after {former.moment} {former.case}" if former else ""
        return Result(task, trouble=f"{error!r}{before}\n{log}")


def work(tasks: Queue[Task | None], results: Queue[Result]) -> None:
    sites = Sites()
    try:
        while (task := tasks.get()) is not None:
            results.put(carry_out(sites, task))
    finally:
        for source in SOURCES:
            sites.drop(source)


def discovered(source: str, chosen: Callable[[dict[str, int], str], Iterator[Case]]) -> Iterator[Task]:
    """``chosen``: which cases, of the sites and their calls in a "change" or a "start"."""
    with FaultySite(SOURCES[source]()) as site:
        called = {"change": site.record(), "start": site.record_start()}
    for moment, calls in called.items():
        print(f"{source}: {len(calls)} sites, {sum(calls.values())} calls in a {moment}", flush=True)
        yield from (Task(source, moment, case) for case in chosen(calls, moment))


def all_of_them(calls: dict[str, int], moment: str) -> Iterator[Case]:
    """Of a change every call once, the ways to fail taking turns, and every site in each way for some seconds. Of a start every site in each way once, and for seconds."""
    for site, count in sorted(calls.items()):
        kinds = kinds_of(site)
        lasting = [kind for kind in kinds if kind != "hang"]
        if moment == "change":
            calls_of_it = max(count, len(kinds))
            yield from (Case(site, kinds[n % len(kinds)], 0.0, min(n + 1, count)) for n in range(calls_of_it))
            yield from (Case(site, kind, SECONDS) for kind in lasting)
        else:
            yield from (Case(site, kind) for kind in kinds)
            yield Case(site, lasting[0], SECONDS)


def a_sample(calls: dict[str, int], moment: str) -> Iterator[Case]:
    """Every site of a change once, a few of them for seconds, and a few of a start; the ways to fail take turns. The same at every time."""
    for number, site in enumerate(sorted(calls)):
        kinds = [kind for kind in kinds_of(site) if kind != "hang"]
        kind = kinds[number % len(kinds)]
        if moment == "change" or number % SHARE == 0:
            yield Case(site, kind)
        if moment == "change" and number % SHARE == 1:
            yield Case(site, kind, SECONDS)


def run(tasks: list[Task], workers: int) -> Iterator[Result]:
    waiting: Queue[Task | None] = multiprocessing.Queue()
    results: Queue[Result] = multiprocessing.Queue()
    for task in [*tasks, *[None] * workers]:
        waiting.put(task)
    processes = [multiprocessing.Process(target=work, args=(waiting, results)) for _ in range(workers)]
    for process in processes:
        process.start()
    for _ in tasks:
        yield results.get()
    for process in processes:
        process.join()


def table(results: Iterable[Result]) -> str:
    lines = []
    results = list(results)
    for source in SOURCES:
        for moment, is_long in (("change", False), ("change", True), ("start", False), ("start", True)):
            its = [
                each
                for each in results
                if (each.task.source, each.task.moment, each.task.case.seconds > 0)
                == (source, moment, is_long)
            ]
            if its:
                happened = sum(each.has_failed for each in its)
                bad = sum(bool(each.trouble) for each in its)
                slowest = max(each.seconds for each in its)
                revoked = max(each.revoked for each in its)
                span = f"for {SECONDS:g} s" if is_long else "once"
                lines.append(
                    f"{source} {moment} {span}: {len(its)} faults, {happened} happened, {bad} not in force afterwards; "
                    f"slowest: policy gone {revoked:.1f} s, all {slowest:.1f} s"
                )
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--folder", action="store_true")
    parser.add_argument("--api", action="store_true")
    parser.add_argument("--sample", action="store_true", help="the part of them that CI has time for")
    parser.add_argument("--only", default="", help="of sites with this in their name")
    options = parser.parse_args()
    chosen = [name for name in SOURCES if vars(options)[name]] or list(SOURCES)
    began = time.monotonic()
    cases = a_sample if options.sample else all_of_them
    tasks = [each for name in chosen for each in discovered(name, cases) if options.only in each.case.site]
    tasks.sort(key=lambda task: (task.moment, task.source))
    results = []
    for result in run(tasks, options.workers):
        results.append(result)
        if result.trouble:
            print(
                f"{result.task.source} {result.task.moment}: {result.task.case}: {result.trouble}", flush=True
            )
        elif len(results) % 50 == 0:
            print(f"{len(results)} of {len(tasks)} after {time.monotonic() - began:.0f} s", flush=True)
    print(table(results))
    return int(any(each.trouble for each in results))


if __name__ == "__main__":
    sys.exit(main())
