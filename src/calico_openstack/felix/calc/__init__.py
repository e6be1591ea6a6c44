"""Cluster state to this host's desired state, incremental. Pure."""
