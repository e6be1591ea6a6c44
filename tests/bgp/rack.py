"""A rack with an AS of its own: its hosts have sessions with its router only, which passes on the
routes of one to the others."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Any, Final

from calico_openstack.bgp.extras import DOMAIN, Bfd
from calico_openstack.bgp.tor import Neighbors, TorRouter, render_tor
from tests.bgp.fabric import Fabric
from tests.support.netns import NetworkNamespace

ROUTER4, ROUTER6 = "10.77.0.254", "fd77::fe"
ROUTER_AS, RACK_AS = 64513, 65101
WITH_BFD: Final = {DOMAIN + "direct": "true", DOMAIN + "bfd": "on"}
_DEFAULT_BFD: Final = Bfd()
_COMMUNITY: Final = "65000:512"
_ELEVATED: Final = 512


def store_rack(fabric: Fabric, annotations: Mapping[str, str] = WITH_BFD, **peer: Any) -> None:
    """Store the configuration, the filter that carries the priority of workloads that move as a
    community, and the peers, with further members of their spec."""
    leaving = {
        "action": "Accept",
        "interface": "tap*",
        "priority": _ELEVATED,
        "operations": [{"addCommunity": {"value": _COMMUNITY}}],
    }
    arriving = {
        "action": "Accept",
        "communities": {"values": [_COMMUNITY]},
        "operations": [{"setPriority": {"value": _ELEVATED}}],
    }
    ways = (("export", leaving), ("import", arriving))
    fabric.put("bgpfilters", "moving", {f"{w}V{f}": [r] for f in (4, 6) for w, r in ways})
    configuration = {"nodeToNodeMeshEnabled": False, "asNumber": RACK_AS}
    fabric.put("bgpconfigurations", "default", configuration)
    for name, address in (("tor4", ROUTER4), ("tor6", ROUTER6)):
        spec = {
            "peerIP": address,
            "asNumber": ROUTER_AS,
            "numAllowedLocalASNumbers": 1,
            "filters": ["moving"],
            **peer,
        }
        fabric.put("bgppeers", name, spec, annotations=dict(annotations))


def rack_router(
    fabric: Fabric, *, bfd: Bfd | None = _DEFAULT_BFD, password: str = ""
) -> tuple[NetworkNamespace, str]:
    """Attach the router; return its namespace and the configuration of its BIRD."""
    return fabric.attach("tor", ROUTER4, ROUTER6), router_text(bfd, password)


def router_text(bfd: Bfd | None, password: str = "") -> str:
    """Return the configuration of the router's BIRD."""
    neighbors = tuple(Neighbors(ip_network(n), RACK_AS) for n in ("10.77.0.0/24", "fd77::/64"))
    return render_tor(
        TorRouter(
            IPv4Address(ROUTER4), ROUTER_AS, neighbors, transit=True, bfd=bfd, password=password
        )
    )


def run_rack_router(fabric: Fabric) -> Path:
    """Run the router; return its control socket."""
    router, text = rack_router(fabric)
    return fabric.bird(router, "tor", text)
