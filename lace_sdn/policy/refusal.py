"""What could not be given to an object, in words that name what was found and what is expected."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lace_sdn.model.cluster import Condition


class Reason(StrEnum):
    """Why; also the ``reason`` of the object's condition."""

    KEY_IN_USE = "KeyInUse"
    SUBNET_TOO_SMALL = "SubnetTooSmall"
    BLOCK_OUTSIDE_NETWORK = "BlockOutsideNetwork"
    BLOCK_IN_USE = "BlockInUse"
    BLOCK_EXHAUSTED = "BlockExhausted"
    ADDRESS_OUTSIDE_NETWORK = "AddressOutsideNetwork"
    ADDRESS_IN_USE = "AddressInUse"
    ADDRESS_OF_OTHER_NODE = "AddressOfOtherNode"
    NO_NETWORK = "NoNetwork"
    NETWORK_MISSING = "NetworkMissing"
    NETWORK_EXTERNAL = "NetworkExternal"
    NETWORK_TERMINATING = "NetworkTerminating"
    NETWORK_NOT_SUPPORTED = "NetworkNotSupported"
    ONLY_EXTERNAL = "OnlyExternal"
    NOT_RECORDED = "NotRecorded"
    NOT_READ = "NotRead"


@dataclass(frozen=True, slots=True)
class Refusal:
    """``kind`` and ``name`` (``namespace/name`` for pods) of the object; ``item`` is the position in a list field."""

    kind: str
    name: str
    reason: Reason
    found: str
    expected: str
    item: int = 0

    def condition(self, consequence: str) -> Condition:
        message = f"{self.found}; {self.expected}; {consequence}"
        return Condition(self.kind, self.name, "Ready", status=False, reason=self.reason, message=message)
