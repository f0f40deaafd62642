"""All conversation with Open vSwitch: OpenFlow programs in and out, and the database of each node.

Promises: a change is one atomic bundle, confirmed by a barrier or refused with the flow's text and owner; every wait
ends; flows that are not ours are never touched. Never: a decision about what should be installed.
"""
