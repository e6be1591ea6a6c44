"""One BGP session of a host, as plain data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from calico_openstack.bgp.detection import Family
from calico_openstack.bgp.extras import NO_EXTRAS, Extras
from calico_openstack.bgp.settings import SecretRef
from calico_openstack.datamodel.addresses import Address

# What may not be part of one of BIRD's symbols.
_SYMBOL_OTHER: Final = re.compile(r"[^a-zA-Z0-9_]")


class Scope(Enum):
    """Where a session comes from; the value is the prefix of its protocol's name."""

    MESH = "Mesh"
    GLOBAL = "Global"
    NODE = "Node"
    WORKLOAD = "Local_Workload"


class NextHop(Enum):
    """A next-hop mode that differs from BGP's own; the value is BIRD's word."""

    SELF = "self"
    KEEP = "keep"


@dataclass(frozen=True, slots=True)
class Session:
    """One BGP session of this host: one neighbour, one address family.

    ``source`` None leaves the choice of the address to the kernel. ``cluster_id`` is empty unless
    the neighbour is this host's route reflector client. ``hops`` is the distance that TTL security
    allows, None without it. ``interface`` is where a neighbour with a link-local address is, empty
    for any other; routes of both families pass such a session. Times are seconds. ``disabled`` says
    why the session may not come up, empty if it may. ``resource`` names the object that asked for
    it.
    """

    scope: Scope
    family: Family
    neighbor: Address
    port: int | None
    remote_as: int
    local_as: int
    source: Address | None
    resource: str
    node: str = ""
    passive: bool = False
    password: SecretRef | None = None
    restart_time: int | None = None
    keepalive_time: int | None = None
    hops: int | None = None
    cluster_id: str = ""
    next_hop: NextHop | None = None
    allow_local_as: int | None = None
    filters: tuple[str, ...] = ()
    reachable_by: Address | None = None
    interface: str = ""
    extras: Extras = NO_EXTRAS
    disabled: str = ""

    @property
    def internal(self) -> bool:
        """Whether this is an iBGP session."""
        return self.remote_as == self.local_as

    @property
    def name(self) -> str:
        """The protocol's name in BIRD, the same for ever while the neighbour stays."""
        address = str(self.neighbor).replace(".", "_").replace(":", "_")
        suffix = f"_port_{self.port}" if self.port and self.scope is not Scope.MESH else ""
        place = f"_{_SYMBOL_OTHER.sub('_', self.interface)}" if self.interface else ""
        return f"{self.scope.value}_{address}{place}{suffix}"

    @property
    def families(self) -> tuple[Family, ...]:
        """The families whose routes pass."""
        return (4, 6) if self.interface else (self.family,)
