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


class EndpointStatus(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """State of an endpoint: ``up``, ``down`` or ``error``.

    ``floating_ips`` are the external addresses that lead to it in its host's kernel, sorted; None
    where a Felix does not tell, as upstream's, whose readers ignore the member.
    """

    status: str
    floating_ips: tuple[str, ...] | None = msgspec.field(name="floatingIPs", default=None)

    def encode(self) -> bytes:
        """Return the stored value."""
        return msgspec.json.encode(self)
