"""A lab whose objects are in the API server of a real cluster: its nodes run what a real node runs, and pods are attached by the CNI plugin.

The lab plays the parts that a cluster without nodes lacks: the kubelets, and the EndpointSlice controller where there is none.
"""
