"""What must be unique in the cluster, done once: network keys, blocks of nodes, the status of objects. Elected by a Lease.

The names of API objects are the locks: a key is claimed by creating the NetworkKey named by its number, a block by creating the Allocation
named NETWORK-INDEX. So two operators that both think they lead cannot give one thing twice. What is planned is a pure function of what was seen; what was
seen may be old, so whatever takes something away first asks the API server how things are now.
"""
