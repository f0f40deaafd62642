"""The node's own network stack beside its bridge: nft, addresses, neighbours, routes, rules and sysctls.

Promises: the namespace it runs in is kept as a ``HostProgram`` says; every pass looks at what is there and writes only the
difference; what cannot be put right is a text for the operator and stops nothing else. Never: a change of what it did not
make itself, except the sysctls that forwarding needs.
"""

from __future__ import annotations

from dataclasses import dataclass, field


class NodeError(Exception):
    """The host refused something; the text says what, and what to do."""


@dataclass(slots=True)
class Outcome:
    """What one pass over the host did, in words: ``changes`` of ours, ``host_changes`` that others feel, ``problems`` left."""

    changes: list[str] = field(default_factory=list)
    host_changes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
