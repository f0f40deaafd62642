"""The compiler: relations of a cluster in, the flow tables of one node's bridge out.

Pure. Tables and registers are declared once; each feature is a module of units, and a unit is a frozen value that holds
all its inputs by name and yields its flows: what did not change need not be compiled again.
"""

from lace_sdn.pipeline.compiler import NodeCompiler, compile_node, offline_ports

__all__ = ["NodeCompiler", "compile_node", "offline_ports"]
