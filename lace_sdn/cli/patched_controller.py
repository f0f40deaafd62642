"""``python -m lace_sdn.cli.patched_controller``: the process behind ``lace-sdn controller``.

Its first import makes the standard library cooperative; imported later, parts of it would block the whole process.
"""

import lace_sdn.switch.patched  # noqa: F401 - must come first
from lace_sdn.cli.controller import controller

if __name__ == "__main__":
    controller(prog_name="lace-sdn controller")
