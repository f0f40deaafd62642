"""The first import of every process that talks to switches: ``import lace_sdn.switch.patched  # noqa: F401``.

Makes the standard library cooperative (eventlet). It must come before anything else that could import ``socket``,
``threading`` or ``ssl``: modules that hold the unpatched ones would block the whole process. Importing it twice is harmless.
"""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    # eventlet >= 0.41 advises new projects to use asyncio; the hub that both OpenFlow libraries share is eventlet.
    warnings.simplefilter("ignore")
    import eventlet

eventlet.monkey_patch()
