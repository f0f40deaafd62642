"""A cluster on one machine: each node and each pod a network namespace, each node with its own Open vSwitch.

Everything of a lab carries its name and lies in its run directory, so that labs never meet each other or anything else on the
machine, and so that whatever an interrupted command left behind is found and completed or removed by the next one.
Nothing here decides about packets: bridges, flows and ports' numbers are the controller's.
"""


class LabError(Exception):
    """Something an operator can put right: the message says what was found, what was expected and what happens now."""
