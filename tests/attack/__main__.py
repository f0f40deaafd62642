"""``make attack``: forged, foreign and revoked packets against a lab in which everything restarts, fails and is flooded.

Exit status 1 if anything forbidden arrived, 2 if receivers did not see what they should.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
sys.path.append(str(Path(__file__).parents[1] / "lab"))

from attack_events import EVENTS, SHORT
from attack_run import as_json, run, table


def main() -> int:
    """Prints the table; see the module."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--datapath", help="of the lab: system or netdev; default: the lab's own")
    options.add_argument("--hold", type=float, default=20.0, help="seconds that each event is watched")
    options.add_argument(
        "--event", action="append", choices=list(EVENTS), help="only this one; may be repeated"
    )
    options.add_argument("--short", action="store_true", help=f"only: {', '.join(SHORT)}")
    options.add_argument("--json", type=Path, metavar="FILE", help="where to write all figures")
    asked = options.parse_args()
    names = SHORT if asked.short else asked.event or list(EVENTS)
    result = run(
        names, asked.hold, asked.datapath, lambda name: print(f"... {name}", file=sys.stderr, flush=True)
    )
    print(table(result))
    if asked.json:
        asked.json.write_text(as_json(result))
    if not result.is_judged:
        print("Nothing is judged: receivers missed frames, or did not see those that are allowed.")
        return 2
    return 1 if result.arrived else 0


if __name__ == "__main__":
    sys.exit(main())
