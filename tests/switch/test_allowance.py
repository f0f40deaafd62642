"""How many packets are refused: so many a second, and never more than a second's worth at once."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import lace_sdn.switch.patched
import json, sys
from lace_sdn.switch.rejection import Allowance
allowance = Allowance(*json.loads(sys.argv[1]))
print(json.dumps([allowance.take(now) for now in json.loads(sys.argv[2])]))
"""


def taken(allowance: tuple[float, float, float], times: list[float]) -> list[bool]:
    """What an allowance (rate, left, at) grants; in a process of its own, whose standard library is cooperative."""
    command = (sys.executable, "-c", PROGRAM, json.dumps(allowance), json.dumps(times))
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    granted: list[bool] = json.loads(done.stdout)
    return granted


def test_a_second_s_worth_may_come_at_once() -> None:
    assert taken((3, 3, 100.0), [100.0] * 5) == [True] * 3 + [False] * 2


def test_what_was_taken_comes_back_with_time() -> None:
    """One each third of a second."""
    assert taken((3, 0, 100.0), [100.2, 100.4, 100.5, 100.8, 100.9]) == [False, True, False, True, False]


def test_what_was_not_taken_is_not_saved() -> None:
    """After an hour it is still a second's worth."""
    assert taken((3, 3, 100.0), [3700.0] * 5) == [True] * 3 + [False] * 2


def test_a_refusal_costs_nothing() -> None:
    assert taken((1, 0, 100.0), [100.5, 100.6, 100.7, 101.1]) == [False, False, False, True]
