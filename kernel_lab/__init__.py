"""The lab in a virtual machine whose kernel has the openvswitch module: ``make kernel-lab``.

Made of Debian's packages alone and kept under the user's cache folder. The machine sees a copy of the work tree, no network, and ends
with the command. docs/kernel-datapath.md says what it runs and what came out.
"""
