"""What must be unique in the cluster, done once: network keys, blocks of nodes, the status of objects. Elected by a Lease."""
