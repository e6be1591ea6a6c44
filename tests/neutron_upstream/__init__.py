"""Neutron's own unit tests with this driver loaded: ``python -m tests.neutron_upstream``."""
