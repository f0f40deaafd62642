"""Kubernetes objects from a folder of manifests: read, validated, decoded, and built into a ClusterState.

Every object and field keeps its file and line, one bad object never stops the others, and what is wrong is
said as a ``Problem``. Nothing here talks to a switch or changes a manifest.
"""
