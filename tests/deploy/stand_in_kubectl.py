"""In place of ``kubectl`` for ``verify.sh``: a cluster that is as the scenario SCENARIO says, but for WRONG answers. Commands are noted in LOG."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[2] / "vagrant"))

if TYPE_CHECKING:
    import book

    from lace_sdn.policy.oracle import Connection


def main(words: list[str]) -> None:
    """As kubectl, of what the script calls."""
    with Path(os.environ["LOG"]).open("a") as log:
        log.write(" ".join(words[:6]) + "\n")
    if words[0] not in ("get", "exec"):
        return
    import book  # noqa: PLC0415 - which takes a second

    scenario = book.Scenario(os.environ["SCENARIO"])
    if words[0] == "get":
        items = [
            {
                "metadata": {"namespace": each.namespace, "name": each.id.partition("/")[2]},
                "spec": {"addresses": [str(address) for address in each.addresses]},
            }
            for each in scenario.built.state.endpoints
        ]
        print(json.dumps({"items": items}))
    if words[0] == "exec":
        namespace, pod = words[3:5]
        assert sys.stdin.read().startswith('"""What runs in the pods')
        answers = [answer(scenario, each) for each in scenario.connections(f"{namespace}/{pod}")]
        assert len(answers) == len(json.loads(words[-1]))
        if os.environ.get("WRONG") == f"{namespace}/{pod}":
            answers[0] = ["silence" if answers[0] != ["silence"] else "echo"]
        print(json.dumps(answers))


def answer(scenario: book.Scenario, connection: Connection) -> list[str]:
    """What ``probe.py`` says where all is as written."""
    meant = scenario.expected[connection]
    if not meant.is_allowed:
        return ["silence" if meant.outcome == "deny" else "refused"]
    if meant.backends and connection.destination.startswith("service "):
        return sorted(meant.backends)
    return ["echo"] if connection.protocol == "ICMP" else [connection.destination]


if __name__ == "__main__":
    main(sys.argv[1:])
