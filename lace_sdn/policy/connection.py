"""What is asked of the oracle, and what it says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lace_sdn.policy.ends import SERVICE_PREFIX

if TYPE_CHECKING:
    from lace_sdn.model.objects import Protocol


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection that ``source`` would start. ``port``: 1..65535, 0 for ICMP. ``family``: 4 or 6.

    Ends: a pod by ``namespace/name``, ``host NAME``, ``node NAME``; as a destination also ``service NAMESPACE/NAME`` for the
    VIP of a Service. The ports of a ``node`` are the NodePorts of Services, and those of its own processes.
    """

    source: str
    destination: str
    protocol: Protocol
    port: int
    family: int = 4

    @property
    def service(self) -> str:
        """``NAMESPACE/NAME`` of the Service whose VIP is called; "" otherwise."""
        is_service = self.destination.startswith(SERVICE_PREFIX)
        return self.destination.removeprefix(SERVICE_PREFIX) if is_service else ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``policy``: the policy that allows it, "" if none is needed or none does.

    ``is_rejected``: a connection that is not allowed is answered at once, by a reset or "port unreachable"; otherwise
    there is silence. ``backends``: who may answer, ends by name (``ADDRESS:PORT`` for what is no end known here).
    """

    allowed: bool
    reason: str
    policy: str = ""
    is_rejected: bool = False
    backends: tuple[str, ...] = ()
