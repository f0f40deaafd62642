"""Lace SDN: isolated networks and directional policies for Kubernetes, on Open vSwitch."""
