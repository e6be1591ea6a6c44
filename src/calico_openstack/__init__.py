"""Calico for OpenStack: a routed layer-3 network with security policy for OpenStack clouds."""

__version__ = "0.1.0"
