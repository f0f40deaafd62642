"""The desired world as last read: manifests and ledger in, a Cluster out; bad objects keep their last good state."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from lace_sdn.kube.build import Built, build
from lace_sdn.kube.generation import generation
from lace_sdn.kube.last_good import LastGoodFile
from lace_sdn.kube.ledger_file import read_ledger, write_ledger
from lace_sdn.kube.manifests import Manifests
from lace_sdn.kube.services import unsupported_protocols
from lace_sdn.kube.source import FolderSource
from lace_sdn.pipeline.compiler import Cluster

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from lace_sdn.kube.problems import Problem
    from lace_sdn.model.cluster import Condition

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class World:
    """``generation``: a name of what was read, another one for another; ``cluster``: what follows from it.

    From an API server also ``digests`` by kind, ``since`` when the oldest change was known that is new in it (seconds, monotonic), and
    ``uids`` of the pods that endpoints belong to.
    """

    generation: str
    built: Built
    cluster: Cluster
    digests: Mapping[str, str] = field(default_factory=dict)
    since: float = 0.0
    uids: Mapping[str, str] | None = None


class Reporter:
    """Logs each problem and condition when it appears, once, and when it is gone."""

    def __init__(self) -> None:
        self._reported: frozenset[str] = frozenset()

    def report(self, problems: Iterable[Problem], conditions: Iterable[Condition]) -> None:
        """Everything that is wrong now."""
        texts = frozenset(map(str, problems)) | frozenset(
            f"{each.kind}/{each.name}: {each.reason}: {each.message}" for each in conditions
        )
        for text in sorted(texts - self._reported):
            log.error("%s", text)
        for text in sorted(self._reported - texts):
            log.info("mended: %s", text)
        self._reported = texts


class WorldReader:
    """Reads the folder of manifests and keeps the ledger of allocations in ``state_file``, the last good objects beside it."""

    def __init__(self, source: Path, state_file: Path, *, is_userspace: bool = False) -> None:
        """``is_userspace``: the nodes' datapaths, which then cannot serve all protocols."""
        self._path = source
        self._last_good = LastGoodFile(state_file)
        self._source = FolderSource(source, self._last_good.read() or Manifests())
        self._state_file = state_file
        self._is_userspace = is_userspace
        self._is_behind = False
        self.changed = threading.Event()
        """Never set: a folder says nothing by itself, it is asked."""
        self._reporter = Reporter()

    def has_news(self) -> bool:
        """Whether the folder changed since it was read, or while it was."""
        return self._source.poll() or self._is_behind or bool(self._last_good.trouble)

    def read(self) -> World:
        """Read all again. Raises OSError when the ledger cannot be read or written; bad manifests are only reported."""
        # Should a file change meanwhile, the name is that of the older contents, the source may have seen the newer ones
        # and would never say so: all is read once more.
        name = generation(self._path)
        manifests = self._source.read()
        self._is_behind = generation(self._path) != name
        ledger = read_ledger(self._state_file)
        built = build(manifests, ledger)
        if built.ledger != ledger:
            write_ledger(self._state_file, built.ledger)
        self._last_good.keep(manifests)
        if self._is_userspace:
            more = unsupported_protocols(built.state)
            built = replace(built, conditions=built.conditions + more)
        self._reporter.report(built.problems, built.conditions)
        return World(name, built, Cluster.of(built.state))
