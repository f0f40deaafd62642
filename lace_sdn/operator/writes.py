"""What planning asks for. Each is about one network, and says all that is needed to do it, or to find that it no longer applies."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lace_sdn.model.objects import Prefix
    from lace_sdn.operator.facts import Block, Claim, NetworkFact


class Gone(Enum):
    """Why a block is freed: what must still be so when the API server is asked."""

    NETWORK = "its Network is gone or going"
    NODE = "its Node is gone"
    USE = "nobody uses it"


@dataclass(frozen=True, slots=True)
class AddFinalizer:
    network: NetworkFact


@dataclass(frozen=True, slots=True)
class RemoveFinalizer:
    network: NetworkFact


@dataclass(frozen=True, slots=True)
class ClaimKey:
    """Create the NetworkKey ``number``. ``former``: a number that the status says and another has; 0 for none."""

    network: NetworkFact
    number: int
    former: int = 0


@dataclass(frozen=True, slots=True)
class RenewClaim:
    """The claim of a former Network of the same name becomes that of this one."""

    network: NetworkFact
    claim: Claim


@dataclass(frozen=True, slots=True)
class SetKey:
    """``status.networkKey`` follows the claim. ``former`` as in ``ClaimKey``."""

    network: NetworkFact
    number: int
    former: int = 0


@dataclass(frozen=True, slots=True)
class ReleaseKey:
    claim: Claim


@dataclass(frozen=True, slots=True)
class CreateBlock:
    """``prefixes``: one a family, of one number."""

    network: NetworkFact
    node: str
    name: str
    prefixes: tuple[Prefix, ...]


@dataclass(frozen=True, slots=True)
class KeepBlock:
    """Take back the mark that says that the block is to be freed."""

    block: Block


@dataclass(frozen=True, slots=True)
class FreeBlock:
    block: Block
    why: Gone


Write = (
    AddFinalizer
    | RemoveFinalizer
    | ClaimKey
    | RenewClaim
    | SetKey
    | ReleaseKey
    | CreateBlock
    | KeepBlock
    | FreeBlock
)


def network_of(write: Write) -> str:
    """The name of the network that it is about."""
    match write:
        case ReleaseKey(claim) | RenewClaim(_, claim):
            return claim.network
        case KeepBlock(block) | FreeBlock(block):
            return block.network
        case _:
            return write.network.name
