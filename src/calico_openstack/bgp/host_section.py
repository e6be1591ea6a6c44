"""What stands in BIRD's configuration beside the sessions, for the template. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from calico_openstack.bgp.communities import community_literal
from calico_openstack.bgp.detection import Family
from calico_openstack.bgp.filters import PRIORITY_BASE
from calico_openstack.bgp.kinds import marks_of
from calico_openstack.bgp.origination import blocks_of
from calico_openstack.bgp.session import Scope, Session
from calico_openstack.bgp.settings import FAMILIES, Settings, hashed_router_id, speakers
from calico_openstack.bgp.stanza import HostOptions, string_text
from calico_openstack.bgp.state import BgpState
from calico_openstack.datamodel.addresses import Network, parse_network
from calico_openstack.datamodel.pools import IPPool

# How long a restarted BIRD keeps the routes that it finds in the kernel while it waits for each
# neighbour to send its own again. New routes wait with them, so one dead neighbour costs this long.
RECOVERY_WAIT_SECONDS: Final = 15

_LOG_FILE_BYTES: Final = 10 * 2**20

# Interfaces whose connected networks must not resolve next hops, besides those of workloads.
_NEVER_DIRECT: Final = ("cali*", "kube-ipvs*", "ns-*", "virbr*", "dummy0", "bgp-peering")

_ENCAPSULATING: Final = ("Always", "CrossSubnet")


def host_context(
    state: BgpState, settings: Settings, options: HostOptions, sessions: Iterable[Session]
) -> dict[str, Any]:
    """Return what the template shows of the host itself."""
    sessions = [session for session in sessions if not session.disabled]
    felix = settings.felix
    pools = _pools(state, lambda _pool: True)
    workload_interface = " || ".join(f'ifname ~ "{p}*"' for p in felix.interface_prefixes)
    service_interface = string_text(options.service_interface)
    services = by_family(settings.service_networks)
    return {
        "host": settings.name,
        "log_target": log_target(options.log_file),
        "router_id": _router_id(settings, options),
        "recovery_wait": RECOVERY_WAIT_SECONDS,
        "debug": settings.log_severity,
        "priority_base": PRIORITY_BASE,
        "families": FAMILIES,
        "priorities": felix.priorities,
        "direct_exclusions": _direct_exclusions(settings),
        "workload_interface": workload_interface,
        "route_protocols": felix.route_protocols,
        "unexported_pools": _pools(state, lambda pool: pool.spec.disable_bgp_export),
        "unprogrammed_pools": _pools(state, lambda pool: not _bird_programs(pool, settings)),
        "wireguard_peers": {
            family: _wireguard_peers(state, settings, family) for family in FAMILIES
        },
        "advertisements": _advertisements(settings),
        "marks": {
            family: marks_of(
                settings.kind_communities,
                state.subnets.values(),
                family,
                workload_interface=workload_interface,
                service_interface=service_interface,
            )
            for family in FAMILIES
        },
        "merge_paths": options.version.merges_paths_safely,
        "service_interface": service_interface,
        "with_bfd": any(session.extras.bfd for session in sessions),
        "with_workloads": any(session.scope is Scope.WORKLOAD for session in sessions),
        "own_addresses": {family: settings.addresses.get(family) for family in FAMILIES},
        "blocks": {
            family: [b for b in blocks_of(state.affinities) if b.network.version == family]
            for family in FAMILIES
        },
        "gateways": {family: _gateways(sessions, family) for family in FAMILIES},
        "like_kubernetes": options.like_kubernetes,
        "pools": pools,
        "services": services,
        "reflects": bool(settings.cluster_id),
    }


def log_target(path: str) -> str:
    """Return where BIRD logs to, in its notation: a file that it rotates, or syslog."""
    if not path:
        return "syslog"
    return f'"{string_text(path)}" {_LOG_FILE_BYTES} "{string_text(path)}.1"'


def by_family(networks: Iterable[Network]) -> dict[Family, list[str]]:
    """Return each network once, in order."""
    found = set(networks)
    return {f: [str(n) for n in sorted(n for n in found if n.version == f)] for f in FAMILIES}


def _gateways(sessions: Iterable[Session], family: Family) -> list[tuple[str, str]]:
    width = 32 if family == 4 else 128
    return sorted(
        {
            (f"{session.neighbor}/{width}", str(session.reachable_by))
            for session in sessions
            if session.family == family and session.reachable_by is not None
        }
    )


def _wireguard_peers(state: BgpState, settings: Settings, family: Family) -> list[str]:
    """Return the hosts that this one reaches through WireGuard, by routes that are not BIRD's."""
    if settings.speaker is None or family not in settings.speaker.wireguard:
        return []
    return [
        str(speaker.addresses[family])
        for speaker in speakers(state).values()
        if speaker.name != settings.name
        and family in speaker.wireguard
        and family in speaker.addresses
    ]


def _advertisements(settings: Settings) -> dict[Family, list[dict[str, Any]]]:
    return {
        family: [
            {
                "prefix": str(advertisement.prefix),
                "communities": [community_literal(v) for v in advertisement.communities],
            }
            for advertisement in settings.advertisements
            if advertisement.prefix.version == family
        ]
        for family in FAMILIES
    }


def _direct_exclusions(settings: Settings) -> list[str]:
    workloads = (f"{prefix}*" for prefix in settings.felix.interface_prefixes)
    return list(dict.fromkeys([*settings.ignored_interfaces, *workloads, *_NEVER_DIRECT]))


def _pools(state: BgpState, wanted: Callable[[IPPool], bool]) -> dict[Family, list[str]]:
    """Return the address ranges of the pools that are *wanted*, in order."""
    cidrs = {pool.spec.cidr for pool in state.pools.values() if wanted(pool)}
    return by_family(n for cidr in cidrs if (n := parse_network(cidr)) is not None)


def _bird_programs(pool: IPPool, settings: Settings) -> bool:
    """Whether BIRD, and not Felix, writes the routes to a pool's remote addresses.

    BIRD 2 has no tunnels, so it leaves pools with an overlay alone.
    """
    if pool.spec.vxlan_mode in _ENCAPSULATING or pool.spec.ipip_mode in _ENCAPSULATING:
        return False
    return settings.program_unencapsulated


def _router_id(settings: Settings, options: HostOptions) -> str:
    own = settings.addresses.get(4)
    if options.router_id == "hash" or (not options.router_id and own is None):
        return str(hashed_router_id(settings.name))
    return options.router_id or str(own)
