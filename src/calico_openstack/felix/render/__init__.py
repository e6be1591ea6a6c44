"""Desired state to nftables objects, routes, neighbours and sysctls. Pure."""
