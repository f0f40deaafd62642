"""OpenFlow 1.5 bytes to values and back: flow-mods, group-mods, bundles and dumps of flows and groups.

Pure: nothing here opens a connection. All encoders give whole messages; ``ValueError`` is raised for a value that the
protocol cannot carry. Decoders never fail for what somebody else put into a switch: that is kept apart.
Sources: OpenFlow Switch Specification 1.5.1; ovs-actions(7); Open vSwitch's nicira-ext.h for vendor actions and properties.
"""

from lace_sdn.openflow.wire.dumps import (
    Foreign,
    bodies,
    decode_flow_dump,
    decode_group_dump,
    flow_dump_request,
    group_dump_request,
    read_flow_dump,
    read_group_dump,
)
from lace_sdn.openflow.wire.flushing import ConnectionFilter, TupleFilter, ct_flush, ct_flush_zone
from lace_sdn.openflow.wire.messages import (
    barrier,
    bundle,
    bundle_add,
    bundle_commit,
    bundle_open,
    flow_add,
    flow_delete_strict,
    foreign_delete_strict,
    group_add,
    group_delete,
    group_modify,
    hello,
)
from lace_sdn.openflow.wire.metering import (
    Metered,
    meter_add,
    meter_delete,
    meter_dump_request,
    meter_modify,
    meter_stats_request,
    read_meter_dump,
    read_meter_stats,
)
from lace_sdn.openflow.wire.packets import PacketIn, packet_out, read_packet_in

__all__ = [
    "ConnectionFilter",
    "Foreign",
    "Metered",
    "PacketIn",
    "TupleFilter",
    "barrier",
    "bodies",
    "bundle",
    "bundle_add",
    "bundle_commit",
    "bundle_open",
    "ct_flush",
    "ct_flush_zone",
    "decode_flow_dump",
    "decode_group_dump",
    "flow_add",
    "flow_delete_strict",
    "flow_dump_request",
    "foreign_delete_strict",
    "group_add",
    "group_delete",
    "group_dump_request",
    "group_modify",
    "hello",
    "meter_add",
    "meter_delete",
    "meter_dump_request",
    "meter_modify",
    "meter_stats_request",
    "packet_out",
    "read_flow_dump",
    "read_group_dump",
    "read_meter_dump",
    "read_meter_stats",
    "read_packet_in",
]
