"""The OpenFlow library below us: os-ken (default) or ryu 4.34, chosen by one setting, ``LACE_SDN_OPENFLOW=os_ken|ryu``.

Every name of the library that we use is resolved here, so that one source runs on both; nobody else imports either. Their
known faults are cured here too. Importing this module before ``lace_sdn.switch.patched`` raises RuntimeError.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any, Final

import eventlet.patcher
import eventlet.wsgi

SETTING: Final = "LACE_SDN_OPENFLOW"
LIBRARIES: Final = ("os_ken", "ryu")
OPENFLOW_15: Final = 6

# Seconds. A switch that answers no probe for 2 intervals is given up; OVS itself probes us too.
ECHO_INTERVAL: Final = 5.0
ECHO_UNREPLIED: Final = 2
SOCKET_TIMEOUT: Final = 10.0


def _chosen() -> str:
    name = os.environ.get(SETTING, LIBRARIES[0])
    if name not in LIBRARIES:
        raise ValueError(f"{SETTING}={name!r}: expected one of {', '.join(LIBRARIES)}")
    if not eventlet.patcher.is_monkey_patched("socket"):
        raise RuntimeError(
            "the standard library is not patched: 'import lace_sdn.switch.patched' must be the first import of the process"
        )
    return name


NAME: Final = _chosen()
# os-ken's native hub loses the event of a lost switch and cannot end its process; ryu knows only eventlet by default.
os.environ["OSKEN_HUB_TYPE"] = "eventlet"
# ryu 4.34 imports a name that eventlet dropped in 0.30.3.
if not hasattr(eventlet.wsgi, "ALREADY_HANDLED"):
    eventlet.wsgi.ALREADY_HANDLED = object()


def _module(path: str) -> Any:
    return import_module(f"{NAME}.{path}")


CONF: Any = _module("cfg").CONF


def _configure() -> None:
    """The library's settings are read from its own CONF, which refuses access until it has been called once."""
    CONF(args=[], project="lace-sdn", default_config_files=[], default_config_dirs=[])
    # The default of 0 unreplied requests means: never probe.
    CONF.set_override("maximum_unreplied_echo_requests", ECHO_UNREPLIED)
    CONF.set_override("echo_request_interval", ECHO_INTERVAL)
    CONF.set_override("socket_timeout", SOCKET_TIMEOUT)


_app_manager: Any = _module("base.app_manager")
_controller: Any = _module("controller.controller")
_handler: Any = _module("controller.handler")
_configure()

App: Any = getattr(_app_manager, "OSKenApp" if NAME == "os_ken" else "RyuApp")
AppManager: Any = _app_manager.AppManager
Handshake: Any = _module("controller.ofp_handler").OFPHandler
MAIN: Any = _handler.MAIN_DISPATCHER
DEAD: Any = _handler.DEAD_DISPATCHER
set_ev_cls: Any = _handler.set_ev_cls
events: Any = _module("controller.ofp_event")
hub: Any = _module("lib.hub")
serve_datapath: Any = _controller.datapath_connection_factory
packet: Any = _module("lib.packet.packet")
ethernet: Any = _module("lib.packet.ethernet")
ipv4: Any = _module("lib.packet.ipv4")
ipv6: Any = _module("lib.packet.ipv6")
tcp: Any = _module("lib.packet.tcp")
udp: Any = _module("lib.packet.udp")
icmp: Any = _module("lib.packet.icmp")
icmpv6: Any = _module("lib.packet.icmpv6")
ofproto: Any = _module("ofproto.ofproto_v1_5")
parser: Any = _module("ofproto.ofproto_v1_5_parser")
register_msg_parser: Any = _module("ofproto.ofproto_parser").register_msg_parser
