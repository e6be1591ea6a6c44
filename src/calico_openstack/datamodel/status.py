"""Status that the agents of hosts write and the Neutron driver reads."""

from __future__ import annotations

import msgspec


class AgentStatus(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A sign of life of Felix or of a DHCP agent.

    ``time`` is RFC 3339 text in UTC with whole seconds, ``uptime`` is in seconds, and
    ``first_update`` is true until one report has been written since the start.
    """

    time: str
    uptime: float
    first_update: bool

    def encode(self) -> bytes:
        """Return the stored value."""
        return msgspec.json.encode(self)


class EndpointStatus(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """State of an endpoint: ``up``, ``down`` or ``error``."""

    status: str

    def encode(self) -> bytes:
        """Return the stored value."""
        return msgspec.json.encode(self)
