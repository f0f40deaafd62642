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
from lace_sdn.kube.problems import Place, Problem
from lace_sdn.kube.reading import Readings
from lace_sdn.kube.services import unsupported_protocols
from lace_sdn.kube.source import FolderSource
from lace_sdn.pipeline.compiler import Cluster
from lace_sdn.policy.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from lace_sdn.model.cluster import ClusterState, Condition

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class World:
    """``generation``: a name of what was read, another one for another; ``cluster``: what follows from it.

    ``pending``: why it is to be read once more although nothing changes; "" if there is no reason.

    From an API server also ``digests`` by kind, ``since`` when the oldest change was known that is new in it (seconds, monotonic), and
    ``uids`` of the pods that endpoints belong to.
    """

    generation: str
    built: Built
    cluster: Cluster
    digests: Mapping[str, str] = field(default_factory=dict)
    since: float = 0.0
    uids: Mapping[str, str] | None = None
    pending: str = ""


class Reporter:
    """Logs each problem and condition when it appears, once, and when it is gone."""

    def __init__(self) -> None:
        self._reported: frozenset[str] = frozenset()

    def report(self, problems: Iterable[Problem], conditions: Iterable[Condition], held: str = "") -> None:
        """Everything that is wrong now, and what waits for it."""
        texts = (
            frozenset(filter(None, (held,)))
            | frozenset(map(str, problems))
            | frozenset(f"{each.kind}/{each.name}: {each.reason}: {each.message}" for each in conditions)
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
        self._source = FolderSource(source, Readings(), self._last_good.read() or Manifests())
        self._state_file = state_file
        self._is_userspace = is_userspace
        self._is_behind = False
        self._complete: tuple[Manifests, ClusterState] | None = None
        """What was read when everything could be, last."""
        self._ledger: Ledger | None = None
        """As it was last on disk."""
        self._is_doubtful = False
        """Whether a write failed since: the file may be the new one, and nobody knows whether it stays."""
        self.changed = threading.Event()
        """Never set: a folder says nothing by itself, it is asked."""
        self._reporter = Reporter()

    def has_news(self) -> bool:
        """Whether the folder changed since it was read, or while it was."""
        return self._source.poll() or self._is_behind

    def close(self) -> None:
        """End the processes that read."""
        self._source.close()

    def read(self) -> World:
        """Read all again. Bad manifests are only reported, and what cannot be read or recorded now is ``pending``.

        Raises OSError when the ledger was never read. Whoever calls it calls again after any exception: what changed is no news then.
        """
        # Should a file change meanwhile, the name is that of the older contents, the source may have seen the newer ones
        # and would never say so: all is read once more.
        name = generation(self._path)
        manifests = self._source.read()
        if "" in manifests.unreadable and not manifests.objects:
            raise OSError(
                f"{manifests.problems[0]}; nothing is known of its objects: nodes keep what is installed"
            )
        self._is_behind = generation(self._path) != name or not (name or manifests.failed)
        built, trouble = self._recorded(manifests)
        if not built.held:
            self._complete = manifests, built.state
        self._last_good.keep(manifests, self._complete[0] if built.held and self._complete else None)
        failed = ", ".join(
            str(self._path / each) if each else str(self._path) for each in sorted(manifests.failed)
        )
        if self._is_userspace:
            more = unsupported_protocols(built.state)
            built = replace(built, conditions=built.conditions + more)
        self._reporter.report(built.problems, built.conditions, built.held)
        unread = f"cannot be read: {failed}" if failed else ""
        pending = "; ".join(filter(None, (trouble, unread, self._last_good.trouble)))
        # Whoever waits for the name of these contents waits until all of them is in force.
        is_part = bool(trouble) or self._source.is_behind
        return World(f"{name} in part" if is_part else name, built, Cluster.of(built.state), pending=pending)

    def _recorded(self, manifests: Manifests) -> tuple[Built, str]:
        """What the manifests ask for, as far as the numbers in it are on disk; and why some are not, "" if all are.

        What needs no new number, such as that a policy is gone, waits for no disk.
        """
        try:
            found = read_ledger(self._state_file)
        except OSError as error:
            if self._ledger is None:
                raise
            # A file that we cannot read is not replaced either: whoever restores it finds it as it was.
            return self._frozen(manifests, self._ledger, error)
        former = self._former(found)
        # Between two writes of somebody who restores it there is none for a moment.
        known = self._ledger if found == Ledger() and self._ledger is not None else found
        durable = self._ledger if self._is_doubtful and self._ledger is not None else known
        built = build(manifests, known, former=former)
        if built.ledger != found or self._is_doubtful:
            self._is_doubtful = True
            try:
                write_ledger(self._state_file, built.ledger)
            except OSError as error:
                return self._frozen(manifests, durable, error)
            self._is_doubtful = False
        self._ledger = built.ledger
        return built, ""

    def _former(self, known: Ledger) -> ClusterState | None:
        """The state when everything could be read last, by this process or the one before; None if that was never."""
        if self._complete is None and self._last_good.complete is not None:
            self._complete = self._last_good.complete, build(self._last_good.complete, known).state
        return self._complete[1] if self._complete else None

    def _frozen(self, manifests: Manifests, known: Ledger, error: OSError) -> tuple[Built, str]:
        built = build(manifests, known, is_frozen=True, former=self._former(known))
        why = str(error) if str(self._state_file) in str(error) else f"{self._state_file}: {error}"
        waits = "what needs a new number waits, all else is in force"
        problem = Problem(Place(str(self._state_file)), "", "", why, "expected to read and write it", waits)
        return replace(built, problems=(*built.problems, problem)), why
