"""What a build has to say: refusals and findings as problems of a line where a field is at fault, else as conditions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lace_sdn.kube.manifests import Identity, Manifest, Manifests
from lace_sdn.kube.problems import Finding, Path, Place, Problem, field_path
from lace_sdn.model.cluster import Condition
from lace_sdn.policy.refusal import Reason, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

_CONSEQUENCES = {
    "Network": "the Network is left out, and its pods with it",
    "Allocation": "the block is left out",
    "Pod": "the Pod is refused: it gets no address and reaches nothing",
    "Service": "the Service has no VIP",
}
_ADDRESS_REASONS = (Reason.ADDRESS_IN_USE, Reason.ADDRESS_OF_OTHER_NODE, Reason.ADDRESS_OUTSIDE_NETWORK)


@dataclass(slots=True)
class Report:
    manifests: Manifests
    problems: list[Problem] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)
    _by_identity: Mapping[Identity, Manifest] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._by_identity = {manifest.identity: manifest for manifest in self.manifests.objects}

    def problem(self, identity: Identity, finding: Finding, consequence: str) -> None:
        manifest = self._by_identity.get(identity)
        if manifest:
            self.problems.append(manifest.problem(finding, consequence))
            return
        where, what = field_path(finding.path), finding.found
        self.problems.append(Problem(Place(""), str(identity), where, what, finding.expected, consequence))

    def not_ready(self, identity: Identity, reason: str, message: str) -> None:
        kind, name = identity.kind, identity.full_name
        self.conditions.append(Condition(kind, name, "Ready", status=False, reason=reason, message=message))

    def condition(self, identity: Identity, kind: str, reason: str, message: str) -> None:
        """Something that is not as it should be, by a condition of the type ``kind``."""
        found = Condition(
            identity.kind, identity.full_name, kind, status=False, reason=reason, message=message
        )
        self.conditions.append(found)

    def place(self, identity: Identity) -> str:
        """Where an object is written; "" if nowhere."""
        manifest = self._by_identity.get(identity)
        return str(manifest.place(("metadata", "name"))) if manifest else ""

    def binding_changed(self, pod: str, message: str) -> None:
        reason = "BindingChanged"
        self.conditions.append(Condition("Pod", pod, reason, status=True, reason=reason, message=message))

    def refused(self, refusal: Refusal, consequence: str = "") -> None:
        """A refusal is a problem of the field that asks for what cannot be given; else a condition of the object."""
        consequence = consequence or _CONSEQUENCES[refusal.kind]
        identity = self._identity(refusal)
        path = self._path(refusal, identity)
        if path:
            self.problem(identity, Finding(path, refusal.found, refusal.expected), consequence)
        else:
            self.conditions.append(refusal.condition(consequence))

    def _identity(self, refusal: Refusal) -> Identity:
        if refusal.kind == "Allocation":
            return self._allocation_of(*refusal.name.split("/"))
        namespace, _, name = refusal.name.rpartition("/")
        return Identity(refusal.kind, namespace, name)

    def _allocation_of(self, network: str, node: str) -> Identity:
        """Allocations are refused by what they are about; the object behind has a name of its own."""
        for manifest in self.manifests.of_kind("Allocation"):
            if (manifest.data["spec"]["network"], manifest.data["spec"]["node"]) == (network, node):
                return manifest.identity
        return Identity("Allocation", "", f"{network}/{node}")

    def _path(self, refusal: Refusal, identity: Identity) -> Path:
        if refusal.reason in _ADDRESS_REASONS:
            manifest = self._by_identity.get(identity)
            listed = bool(manifest and manifest.data.get("status", {}).get("podIPs"))
            return ("status", "podIPs", refusal.item, "ip") if listed else ("status", "podIP")
        match refusal.reason:
            case Reason.KEY_IN_USE:
                return ("status", "networkKey")
            case Reason.SUBNET_TOO_SMALL:
                return ("spec", f"ipv{refusal.item}Subnet", "prefix")
            case Reason.BLOCK_IN_USE | Reason.BLOCK_OUTSIDE_NETWORK:
                return ("spec", f"ipv{refusal.item}Block")
            case _:
                return ()

    def all_problems(self) -> tuple[Problem, ...]:
        """In order of place, each once."""
        return tuple(sorted({*self.manifests.problems, *self.problems}))

    def all_conditions(self) -> tuple[Condition, ...]:
        """In order of object, each once."""
        ordered = sorted(self.conditions, key=lambda each: (each.kind, each.name, each.type, each.message))
        return tuple(dict.fromkeys(ordered))
