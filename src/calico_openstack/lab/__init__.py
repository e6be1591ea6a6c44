"""A whole cloud on one machine, in network namespaces."""
