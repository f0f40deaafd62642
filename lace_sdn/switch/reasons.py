"""OpenFlow errors in words: the name that ovs-vswitchd's log uses, and for the likely ones what it means."""

from __future__ import annotations

from typing import Any, Final

from lace_sdn.switch import library

# Experimenter errors of Open vSwitch that a flow or group can meet under OpenFlow 1.5; they have a type and no code.
_OPEN_VSWITCH: Final = {
    2: "NXBRC_NXM_INVALID",
    3: "NXBRC_NXM_BAD_TYPE",
    4: "NXBRC_MUST_BE_ZERO",
    11: "NXBAC_MUST_BE_ZERO",
    13: "NXFMFC_BAD_TABLE_ID",
    15: "NXBAC_BAD_CONJUNCTION",
    22: "OFPBFC_BAD_VERSION",
}

_MEANING: Final = {
    "OFPBAC_BAD_OUT_GROUP": "there is no such group",
    "OFPBAC_BAD_OUT_PORT": "there is no such port",
    "OFPBAC_BAD_SET_ARGUMENT": "the field is read-only, or the value does not fit it",
    "OFPBAC_MATCH_INCONSISTENT": "the action needs a protocol that the match does not ask for",
    "OFPBIC_BAD_TABLE_ID": "goto_table must lead to a later table",
    "OFPBMC_BAD_PREREQ": "a field needs another that the match does not ask for",
    "OFPBMC_BAD_VALUE": "the field cannot have this value",
    "OFPBRC_BAD_TABLE_ID": "there is no such table",
    "OFPFMFC_TABLE_FULL": "the table is full",
    "OFPGMFC_GROUP_EXISTS": "the group exists already",
    "OFPGMFC_UNKNOWN_GROUP": "there is no such group",
}


def reason(message: Any) -> str:
    """Of an error message of the library: ``OFPBMC_BAD_PREREQ, a field needs another that the match does not ask for``."""
    if message.type == library.ofproto.OFPET_EXPERIMENTER:
        unknown = f"experimenter {message.experimenter:#x}, error {message.exp_type}"
        return _OPEN_VSWITCH.get(message.exp_type, unknown)
    name = str(library.ofproto.ofp_error_code_to_str(message.type, message.code)).partition("(")[0]
    return f"{name}, {_MEANING[name]}" if name in _MEANING else name
