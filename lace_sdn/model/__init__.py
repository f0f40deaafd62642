"""The objects of a cluster as frozen values. Nothing here reads a file, a socket or a clock, and nothing is ever changed."""
