"""A fabric of simulated bridges: runs packets through BridgePrograms and says where they arrive, and by which flows.

Pure: the only state is a ``Fabric``'s own, its bridges' programs and connection tables. Stricter than a switch: a program
that jumps to a missing group or for ever is an error here. It follows Open vSwitch 3.1 (lib/conntrack*.c, ovs-actions(7)),
with the kernel's conntrack as a switch (``Tracker``).
"""

from lace_sdn.openflow.simulator.conntrack import Conntrack, Entry, SimulationError, Tracker
from lace_sdn.openflow.simulator.defects import defects, unreached
from lace_sdn.openflow.simulator.fabric import Delivery, Fabric, Passage
from lace_sdn.openflow.simulator.machine import Emission, Step, run
from lace_sdn.openflow.simulator.packet import Packet, Tcp
from lace_sdn.openflow.simulator.table_index import TableIndex

__all__ = [
    "Conntrack",
    "Delivery",
    "Emission",
    "Entry",
    "Fabric",
    "Packet",
    "Passage",
    "SimulationError",
    "Step",
    "TableIndex",
    "Tcp",
    "Tracker",
    "defects",
    "run",
    "unreached",
]
