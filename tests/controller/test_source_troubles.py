"""A source that cannot be read is said once for as long as that lasts, and once when it is over."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import lace_sdn.switch.patched
import logging, sys, threading
import eventlet
from lace_sdn.controller.backoff import Backoff
from lace_sdn.controller.process import Process
from lace_sdn.controller.troubles import Troubles

logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s", stream=sys.stdout)

class Reader:
    changed = threading.Event()
    tries = 0

    def has_news(self):
        return False

    def read(self):
        self.tries += 1
        if self.tries < 4:
            raise OSError("ledger: is damaged")
        over.set()

over = threading.Event()
its = Process.__new__(Process)
its.world, its._workers, its.publish = None, {}, lambda: None
its._troubles, its._reader = Troubles(), Reader()
its._source_due, its._source_retry = 0.0, Backoff(0.01, 0.01)
eventlet.spawn(its._watch_source)
over.wait()
eventlet.sleep(0.5)
"""


def test_a_source_that_cannot_be_read_is_said_once() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    trouble = "the source: ledger: is damaged; the last good state stays in force"
    assert done.stdout.splitlines() == [
        f"ERROR {trouble}; trying again",
        f"WARNING {trouble.replace('the source:', 'the source: well again after:')}",
    ]
