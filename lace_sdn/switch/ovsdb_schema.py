"""The columns of the Open_vSwitch database that we read or write (ovs-vswitchd.conf.db(5)), as its IDL wants them."""

from __future__ import annotations

from typing import Any, Final

DATABASE: Final = "Open_vSwitch"

FLOW_RESTORE_WAIT: Final = "flow-restore-wait"
"""Key of Open_vSwitch's ``other_config``: ovs-vswitchd, when it starts, leaves the datapath as it is until this is gone, and has no controller."""
CALLED_BY: Final = "called-by"
"""Key of its ``external_ids``: who calls the bridge, which calls nobody, as long as this ovs-vswitchd lives (deploy/openvswitch.sh)."""

_TEXT: Final = {"type": "string"}
_OPTIONAL_TEXT: Final = {"type": {"key": "string", "min": 0, "max": 1}}
_OPTIONAL_NUMBER: Final = {"type": {"key": "integer", "min": 0, "max": 1}}
_TEXTS: Final = {"type": {"key": "string", "min": 0, "max": "unlimited"}}
_TEXT_MAP: Final = {"type": {"key": "string", "value": "string", "min": 0, "max": "unlimited"}}


def _rows(table: str) -> dict[str, Any]:
    reference = {"type": "uuid", "refTable": table, "refType": "strong"}
    return {"type": {"key": reference, "min": 0, "max": "unlimited"}}


def _numbered_rows(table: str) -> dict[str, Any]:
    reference = {"type": "uuid", "refTable": table, "refType": "strong"}
    return {"type": {"key": "integer", "value": reference, "min": 0, "max": "unlimited"}}


_COLUMNS: Final[dict[str, dict[str, Any]]] = {
    "Open_vSwitch": {"bridges": _rows("Bridge"), "external_ids": _TEXT_MAP, "other_config": _TEXT_MAP},
    "Bridge": {
        "name": _TEXT,
        "fail_mode": _OPTIONAL_TEXT,
        "protocols": _TEXTS,
        "datapath_type": _TEXT,
        "other_config": _TEXT_MAP,
        "controller": _rows("Controller"),
        "ports": _rows("Port"),
        "flow_tables": _numbered_rows("Flow_Table"),
    },
    "Controller": {
        "target": _TEXT,
        "max_backoff": _OPTIONAL_NUMBER,
        "controller_rate_limit": _OPTIONAL_NUMBER,
        "controller_burst_limit": _OPTIONAL_NUMBER,
        "inactivity_probe": _OPTIONAL_NUMBER,
        "connection_mode": _OPTIONAL_TEXT,
        "is_connected": {"type": "boolean"},
    },
    "Flow_Table": {"name": _OPTIONAL_TEXT},
    "Port": {"name": _TEXT, "interfaces": _rows("Interface")},
    "Interface": {
        "name": _TEXT,
        "type": _TEXT,
        "options": _TEXT_MAP,
        "mac": _OPTIONAL_TEXT,
        "mtu_request": _OPTIONAL_NUMBER,
        "ofport": _OPTIONAL_NUMBER,
        "ofport_request": _OPTIONAL_NUMBER,
        "external_ids": _TEXT_MAP,
        "error": _OPTIONAL_TEXT,
    },
}

SCHEMA: Final[dict[str, Any]] = {
    "name": DATABASE,
    "version": "8.0.0",
    "tables": {table: {"columns": columns} for table, columns in _COLUMNS.items()},
}
