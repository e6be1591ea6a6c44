"""Configuration of a top-of-rack router that runs BIRD and peers with the hosts. Pure.

The lab's router runs it, and it shows operators what the other end of a BGPPeer looks like: the
router takes workload routes from the hosts and tells them which networks are behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from calico_openstack.bgp.extras import Bfd
from calico_openstack.bgp.host_section import log_target
from calico_openstack.bgp.render import environment, password_fault
from calico_openstack.bgp.settings import FAMILIES
from calico_openstack.bgp.stanza import bfd_option
from calico_openstack.bgp.version import OLDEST_SUPPORTED, BirdVersion


@dataclass(frozen=True, slots=True)
class Neighbors:
    """Hosts in one AS: single addresses, or every host of a network that calls.

    A router that starts again waits for neighbours that it knows by address. For a network it does
    not know whom to expect: it always waits its full time (``graceful restart wait``) before its
    kernel has new routes, and tells the first host that calls nothing of the others' workloads.
    """

    where: IPv4Address | IPv6Address | IPv4Network | IPv6Network
    as_number: int


@dataclass(frozen=True, slots=True)
class TorRouter:
    """A top-of-rack router.

    ``advertised`` are the networks that hosts learn from it, the default route among them if it
    should be. With ``transit`` it also passes on routes from one host to another, which hosts in
    one AS refuse unless they allow their own AS in paths. ``ttl_security`` takes packets of direct
    neighbours only (RFC 5082), which hosts must do too. With ``bfd`` it notices by BFD that a host
    is lost which takes part in it. ``log_file`` empty logs to syslog.
    """

    router_id: IPv4Address
    as_number: int
    neighbors: tuple[Neighbors, ...]
    advertised: tuple[IPv4Network | IPv6Network, ...] = ()
    transit: bool = False
    password: str = ""
    ttl_security: bool = False
    bfd: Bfd | None = None
    log_file: str = ""


def render_tor(router: TorRouter, version: BirdVersion = OLDEST_SUPPORTED) -> str:
    """Return the configuration of a BIRD of this *version* for *router*.

    Raises ValueError for an unusable password.
    """
    if router.password and password_fault(router.password):
        raise ValueError(f"the password {password_fault(router.password)}")
    networks = sorted(set(router.advertised), key=lambda n: (n.version, n))
    return (
        environment()
        .get_template("tor.conf.j2")
        .render(
            router=router,
            families=FAMILIES,
            merge_paths=version.merges_paths_safely,
            bfd_option=bfd_option(router.bfd) if router.bfd else "",
            log_target=log_target(router.log_file),
            advertised={f: [n for n in networks if n.version == f] for f in FAMILIES},
            neighbors=list(_neighbors(router)),
        )
    )


def _neighbors(router: TorRouter) -> Iterator[dict[str, Any]]:
    for number, entry in enumerate(router.neighbors):
        where = entry.where
        dynamic = isinstance(where, IPv4Network | IPv6Network)
        yield {
            "name": f"hosts{number}" if dynamic else "host_" + _symbol(str(where)),
            "dynamic_name": f"host{number}_",
            "family": where.version,
            "range": str(where) if dynamic else "",
            "address": str(where),
            "as_number": entry.as_number,
        }


def _symbol(text: str) -> str:
    return text.replace(".", "_").replace(":", "_")
