"""A rack with an AS of its own: its hosts have sessions with its router only, which passes on the
routes of one to the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any, Final

from calico_openstack.bgp.extras import DOMAIN, Bfd
from calico_openstack.bgp.tor import Neighbors, TorRouter, render_tor
from tests.bgp.fabric import BIRD, Fabric, Host, bird_routes, birdc
from tests.support.processes import Process

ROUTER4, ROUTER6 = "10.77.0.254", "fd77::fe"
ROUTER_AS, RACK_AS = 64513, 65101
# On a busy machine BFD takes a neighbour that is late for lost; its routes stay.
_DEFAULT_BFD: Final = Bfd(graceful=True)
WITH_BFD: Final = {DOMAIN + "direct": "true", DOMAIN + "bfd": str(_DEFAULT_BFD)}
_COMMUNITY: Final = "65000:512"
_ELEVATED: Final = 512
_FILES: Final = {"-c": ".conf", "-s": ".ctl", "-P": ".pid"}


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


def router_text(hosts: Iterable[Host], bfd: Bfd | None, password: str = "") -> str:
    """Return the configuration of the router's BIRD, for which these hosts are in the rack."""
    neighbors = tuple(
        Neighbors(ip_address(address), RACK_AS)
        for host in hosts
        for address in (host.ipv4, host.ipv6)
    )
    return render_tor(
        TorRouter(
            IPv4Address(ROUTER4), ROUTER_AS, neighbors, transit=True, bfd=bfd, password=password
        ),
        BIRD,
    )


class RackRouter:
    """The rack's router: a BIRD that takes over its routes when it starts again."""

    name = "tor"

    def __init__(
        self, fabric: Fabric, *, bfd: Bfd | None = _DEFAULT_BFD, password: str = ""
    ) -> None:
        self.namespace = fabric.attach(self.name, ROUTER4, ROUTER6)
        self._fabric = fabric
        self._base = fabric.directory / self.name
        self._base.with_suffix(".conf").write_text(router_text(fabric.hosts, bfd, password))
        self._process: Process | None = None
        self.start()

    @property
    def control(self) -> Path:
        """Its control socket."""
        return self._base.with_suffix(".ctl")

    @property
    def recovered(self) -> bool:
        """Whether it has heard all its neighbours again, and told them so.

        One that ends before that loses what its neighbours have kept for it (RFC 4724 section 4.2).
        """
        return "Daemon is up" in (told := birdc(self.control, "show", "status")) and (
            "recovery in progress" not in told
        )

    def start(self) -> None:
        """Start it."""
        names = {flag: self._base.with_suffix(end) for flag, end in _FILES.items()}
        arguments = [str(part) for item in names.items() for part in item]
        self._process = Process(
            ["bird", "-f", "-R", *arguments],
            log=self._base.with_suffix(".log"),
            prefix=self.namespace.command([]),
        )
        self._fabric.processes.append(self._process)

    def routes(self, family: str = "-4") -> dict[str, list[str]]:
        """Return the gateways of BIRD's routes in the kernel, by destination."""
        return bird_routes(self.namespace, family)

    def configure(self, text: str) -> None:
        """Have it take another configuration."""
        self._base.with_suffix(".conf").write_text(text)
        birdc(self.control, "configure")

    def restart(self) -> None:
        """End it by SIGKILL and start it again, as its supervisor would."""
        if self._process is not None:
            self._process.kill()
        self.start()
