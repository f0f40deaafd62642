"""What a lab should be: manifests and the allocations made so far, read from its files; pure from there on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lace_sdn.kube.build import Built, build
from lace_sdn.kube.ledger_file import read_ledger
from lace_sdn.kube.manifests import Manifests, keep_last_good, read
from lace_sdn.kube.services import unsupported_protocols
from lace_sdn.lab import LabError, datapath

if TYPE_CHECKING:
    from pathlib import Path

    from lace_sdn.lab.names import Lab
    from lace_sdn.policy.ledger import Ledger


def live(lab: Lab) -> Built:
    """What the lab runs now. Raises LabError if there is no such lab."""
    if lab.is_on_kubernetes:
        from lace_sdn.lab.api import cluster as on_kubernetes  # noqa: PLC0415 - others need not wait for it

        return on_kubernetes.live(lab)
    if not lab.manifests.exists():
        raise LabError(
            f'there is no lab "{lab.name}"; `lace-sdn lab up -f FILE_OR_DIR --name {lab.name}` makes one'
        )
    return served(lab, build(read(lab.manifests), _ledger(lab)))


def next_state(lab: Lab, source: Path) -> Built:
    """What the lab is to run with the manifests of ``source``.

    A running pod keeps its network, so pods whose binding changed are deleted and created: they are bound and addressed anew.
    Raises LabError if the ledger is damaged.
    """
    before = read(lab.manifests) if lab.manifests.exists() else Manifests()
    return served(lab, after_recreation(keep_last_good(before, read(source)), _ledger(lab)))


def after_recreation(manifests: Manifests, ledger: Ledger) -> Built:
    """The state in which no pod waits to be created anew."""
    built = build(manifests, ledger)
    stale = [each.name for each in built.conditions if each.type == "BindingChanged" and each.status]
    return build(manifests, ledger.without_pods(stale)) if stale else built


def served(lab: Lab, built: Built) -> Built:
    """With what the lab's datapath cannot serve."""
    if not datapath.of(lab).is_userspace:
        return built
    return replace(built, conditions=built.conditions + unsupported_protocols(built.state))


def _ledger(lab: Lab) -> Ledger:
    try:
        return read_ledger(lab.ledger)
    except OSError as problem:
        raise LabError(str(problem)) from None
