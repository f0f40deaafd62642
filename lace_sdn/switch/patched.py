"""The first import of every process that talks to switches: ``import lace_sdn.switch.patched  # noqa: F401``.

Makes the standard library cooperative (eventlet), and the garbage collector patient. It must come before anything else that could import ``socket``,
``threading`` or ``ssl``: modules that hold the unpatched ones would block the whole process. Importing it twice is harmless.
"""

from __future__ import annotations

import gc
import warnings

with warnings.catch_warnings():
    # eventlet >= 0.41 advises new projects to use asyncio; the hub that both OpenFlow libraries share is eventlet.
    warnings.simplefilter("ignore")
    import eventlet

eventlet.monkey_patch()

# Programs are many small values without cycles: at the default of (700, 10, 10) half of the time of a large dump goes into
# looking for some, and everybody waits meanwhile.
gc.set_threshold(50_000, 20, 10)
