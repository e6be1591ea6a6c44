"""Neutron objects to resources. Pure."""
