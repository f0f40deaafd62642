"""Label selectors (https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

Labels = tuple[tuple[str, str], ...]
"""Labels as sorted (key, value) pairs: hashable, and equal when their meaning is."""

NO_LABELS: Labels = ()


def labels(mapping: Mapping[str, str] | None) -> Labels:
    """Labels of a Kubernetes object's ``metadata.labels``; None means none."""
    return tuple(sorted((mapping or MappingProxyType({})).items()))


class Operator(StrEnum):
    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term of a selector. ``matchLabels`` k: v is the same as ``k In (v,)``."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def is_satisfied_by(self, found: Labels) -> bool:
        value = dict(found).get(self.key)
        match self.operator:
            case Operator.IN:
                return value is not None and value in self.values
            case Operator.NOT_IN:
                return value is None or value not in self.values
            case Operator.EXISTS:
                return value is not None
            case Operator.DOES_NOT_EXIST:
                return value is None

    @property
    def is_positive(self) -> bool:
        """Whether a label must be there for this term to hold."""
        return self.operator in (Operator.IN, Operator.EXISTS)


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All terms must hold; a selector without terms matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, found: Labels) -> bool:
        return all(requirement.is_satisfied_by(found) for requirement in self.requirements)


EVERYTHING = LabelSelector()
"""The empty selector."""


@dataclass(frozen=True, slots=True)
class NetworkSelector:
    """Selects Networks: exactly one by ``name``, or any number by labels (never both)."""

    name: str | None = None
    by_labels: LabelSelector = EVERYTHING
