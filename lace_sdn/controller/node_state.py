"""The NodeState of a node: written when it changed, at most once a second, and again when the API server is back."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lace_sdn.kube.api import resources
from lace_sdn.kube.api.client import ApiError, ApiUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lace_sdn.controller.api_world import ApiWorld

log = logging.getLogger(__name__)

MOST_PROBLEMS: Final = 16
LONGEST_PROBLEM: Final = 1024


@dataclass(frozen=True, slots=True)
class Report:
    """What is programmed. ``generation``: a running number; ``milliseconds``: from the API server's word to the switch's confirmation."""

    generation: int
    milliseconds: int
    digests: dict[str, str]
    flows: int
    groups: int
    endpoints: int


class NodeStateWriter:
    """``write`` is called again and again by one thread; ``note`` by another."""

    def __init__(self, world: ApiWorld) -> None:
        self._world = world
        self._report: Report | None = None
        self._written: dict[str, Any] | None = None
        self._started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

    def note(self, report: Report) -> None:
        """The latest; earlier ones need not be written."""
        self._report = report

    def write(self, *, ready: bool, problems: Iterable[str]) -> None:
        """Write what differs from what was written last; a fault is logged and the next call tries again."""
        status = self._status(ready, problems)
        if status is None or status == self._written:
            return
        try:
            self._put(status)
        except (ApiError, ApiUnreachable) as error:
            log.info("NodeState %s is not written: %s; trying again", self._world.node, error)
            return
        self._written = status

    def _status(self, ready: bool, problems: Iterable[str]) -> dict[str, Any] | None:
        report = self._report
        if report is None:
            return None
        return {
            "ready": ready,
            "generation": report.generation,
            "milliseconds": report.milliseconds,
            "digests": report.digests,
            "flows": report.flows,
            "groups": report.groups,
            "endpoints": report.endpoints,
            "startedAt": self._started,
            "problems": [text[:LONGEST_PROBLEM] for text in problems][:MOST_PROBLEMS],
        }

    def _put(self, status: dict[str, Any]) -> None:
        api, node = self._world.api, self._world.node
        try:
            api.patch(resources.NODE_STATES, node, "", {"status": status}, subresource="status")
        except ApiError as error:
            if not error.is_not_found:
                raise
            api.create(resources.NODE_STATES, self._new())
            api.patch(resources.NODE_STATES, node, "", {"status": status}, subresource="status")

    def _new(self) -> dict[str, Any]:
        """It goes with its Node."""
        node = self._world.api.get(resources.NODES, self._world.node)
        owner = {"apiVersion": "v1", "kind": "Node", "name": self._world.node, "uid": node["metadata"]["uid"]}
        return {
            "apiVersion": resources.NODE_STATES.api_version,
            "kind": resources.NODE_STATES.kind,
            "metadata": {"name": self._world.node, "ownerReferences": [owner]},
        }
