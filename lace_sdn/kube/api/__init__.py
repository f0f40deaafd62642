"""The API server of Kubernetes: its objects as plain dicts, listed, watched and written. The ``kubernetes`` library is the transport."""
