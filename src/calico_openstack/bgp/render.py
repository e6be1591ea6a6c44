"""The text of BIRD's configuration for one host. Pure.

``render`` is a function of its arguments: the same state gives the same text to the byte. What is
put into the text is typed (addresses, numbers) or checked here against the characters that BIRD's
grammar allows at that place, for BIRD's strings know no escapes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import jinja2

from calico_openstack.bgp.detection import Family
from calico_openstack.bgp.filters import (
    PRIORITY_BASE,
    Direction,
    FilterError,
    community_literal,
    function_lines,
    function_name,
    rules_of,
)
from calico_openstack.bgp.origination import aggregated, blocks_of
from calico_openstack.bgp.peering import Session, close_untrusted, sessions_of
from calico_openstack.bgp.settings import (
    FAMILIES,
    SecretRef,
    Settings,
    hashed_router_id,
    secret_ref,
    settings_of,
)
from calico_openstack.bgp.stanza import (
    AGGREGATES,
    HostOptions,
    session_context,
    string_text,
)
from calico_openstack.bgp.state import BgpState, Problem
from calico_openstack.datamodel.addresses import Network, parse_network
from calico_openstack.datamodel.bgp import BGPFilter
from calico_openstack.datamodel.pools import IPPool

# How long a restarted BIRD keeps the routes that it finds in the kernel while it waits for each
# neighbour to send its own again. New routes wait with them, so one dead neighbour costs this long.
RECOVERY_WAIT_SECONDS: Final = 15

# The kernel's limit for TCP MD5 keys (TCP_MD5SIG_MAXKEYLEN).
MAX_PASSWORD_BYTES: Final = 80

_LOG_FILE_BYTES: Final = 10 * 2**20

# Interfaces whose connected networks must not resolve next hops, besides those of workloads.
_NEVER_DIRECT: Final = ("cali*", "kube-ipvs*", "ns-*", "virbr*", "dummy0")

_ENCAPSULATING: Final = ("Always", "CrossSubnet")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A configuration, the sessions in it, and what had to be left out of it."""

    text: str
    router_id: str
    sessions: tuple[Session, ...] = ()
    problems: tuple[Problem, ...] = ()
    secrets: frozenset[SecretRef] = field(default=frozenset())
    draining: bool = False


def render(
    state: BgpState,
    host: str,
    passwords: Mapping[SecretRef, str],
    options: HostOptions,
    excluded: Mapping[str, str] | None = None,
    *,
    isolated: Container[Family] = (),
) -> Rendered:
    """Return the configuration of *host*.

    *passwords* are those that are available; the result names all that are wanted. *excluded*
    names protocols and functions that BIRD does not accept, with the reasons. In families in which
    the host is *isolated* from the others it announces no aggregates, for it could not deliver.
    Raises RefusedError where the state allows no dependable configuration.
    """
    excluded = excluded or {}
    blocks = blocks_of(state.affinities)
    settings, problems = settings_of(state, host)
    sessions, peer_problems = sessions_of(state, settings)
    usable = {ref: text for ref, text in passwords.items() if not password_fault(text)}
    sessions = close_untrusted(sessions, state, usable)
    functions, sessions, filter_problems = _functions(sessions, state, excluded)
    sessions = tuple(
        replace(s, disabled=f"BIRD refuses it: {excluded[s.name]}") if s.name in excluded else s
        for s in sessions
    )
    aggregates = {
        session.name: aggregated(session.extras.aggregates, state.subnets.values(), session.family)
        for session in sessions
        if not session.disabled and session.family not in isolated
    }
    router_id = _router_id(settings, options)
    problems += (*peer_problems, *filter_problems, *state.problems())
    if settings.speaker is None:
        problems += (Problem(f"Node {host}", "", "no Node with a BGP address for this host"),)
    context: dict[str, Any] = {
        "host": host,
        "log_target": log_target(options.log_file),
        "router_id": router_id,
        "recovery_wait": RECOVERY_WAIT_SECONDS,
        "debug": settings.log_severity,
        "priority_base": PRIORITY_BASE,
        "families": FAMILIES,
        "priorities": settings.priorities,
        "direct_exclusions": _direct_exclusions(settings),
        "workload_interface": " || ".join(
            f'ifname ~ "{prefix}*"' for prefix in settings.workload_prefixes
        ),
        "route_protocols": settings.route_protocols,
        "unexported_pools": _pools(state, lambda pool: pool.spec.disable_bgp_export),
        "unprogrammed_pools": _pools(state, lambda pool: not _bird_programs(pool, settings)),
        "advertisements": _advertisements(settings),
        "service_interface": string_text(options.service_interface),
        "aggregate_protocol": AGGREGATES,
        "aggregates": _by_family(network for some in aggregates.values() for network in some),
        "with_bfd": any(session.extras.bfd for session in sessions if not session.disabled),
        "blocks": {
            family: [block for block in blocks if block.network.version == family]
            for family in FAMILIES
        },
        "gateways": {family: _gateways(sessions, family) for family in FAMILIES},
        "filter_functions": functions,
        "sessions": [
            session_context(
                session,
                settings,
                usable,
                state,
                options,
                aggregates=aggregates.get(session.name, ()),
            )
            for session in sessions
            if session.name not in excluded
        ],
    }
    text = environment().get_template("bird.conf.j2").render(context)
    secrets = frozenset(s.password for s in sessions if s.password is not None)
    found = tuple(sorted(set(problems)))
    return Rendered(text, router_id, sessions, found, secrets, draining=settings.draining)


def render_without_sessions(host: str, options: HostOptions) -> Rendered:
    """Return the configuration of a host about which nothing is known yet: no BGP at all."""
    return render(BgpState(), host, {}, options)


def secrets_of(state: BgpState) -> frozenset[SecretRef]:
    """Return every password that some session of the state may want."""
    passwords = [peer.spec.password for peer in state.peers.values()]
    cluster = state.configurations.get("default")
    if cluster is not None:
        passwords.append(cluster.spec.node_mesh_password)
    return frozenset(filter(None, map(secret_ref, passwords)))


def log_target(path: str) -> str:
    """Return where BIRD logs to, in its notation: a file that it rotates, or syslog."""
    if not path:
        return "syslog"
    return f'"{string_text(path)}" {_LOG_FILE_BYTES} "{string_text(path)}.1"'


def password_fault(text: str) -> str:
    """Return why a password cannot be used, empty if it can."""
    if not text:
        return "is empty"
    if '"' in text or not text.isprintable():
        return "has a double quote or a control character"
    if len(text.encode()) > MAX_PASSWORD_BYTES:
        return f"is longer than {MAX_PASSWORD_BYTES} bytes"
    return ""


def _functions(
    sessions: tuple[Session, ...], state: BgpState, excluded: Mapping[str, str]
) -> tuple[list[tuple[str, ...]], tuple[Session, ...], list[Problem]]:
    """Return the functions of the filters in use; sessions are disabled for those that fail."""
    functions: list[tuple[str, ...]] = []
    problems: list[Problem] = []
    failed: dict[str, str] = {}
    used = sorted({n for s in sessions if not s.disabled for n in s.filters})
    families = sorted({s.family for s in sessions})
    for name in used:
        try:
            functions += _functions_of(name, state.filters[name], families, excluded)
        except FilterError as error:
            failed[name] = str(error)
            problems.append(Problem(f"BGPFilter {name}", "", str(error)))
    closed = tuple(
        replace(s, disabled=f"BGPFilter {bad[0]} cannot be used: {failed[bad[0]]}")
        if not s.disabled and (bad := [name for name in s.filters if name in failed])
        else s
        for s in sessions
    )
    return functions, closed, problems


def _functions_of(
    name: str, bgp_filter: BGPFilter, families: Iterable[Family], excluded: Mapping[str, str]
) -> list[tuple[str, ...]]:
    functions = []
    for family in families:
        for direction in Direction:
            rules = rules_of(bgp_filter, direction, family)
            symbol = function_name(name, direction, family)
            if symbol in excluded:
                raise FilterError(f"BIRD refuses it: {excluded[symbol]}")
            if rules:
                functions.append(function_lines(name, rules, direction, family))
    return functions


def _gateways(sessions: Iterable[Session], family: Family) -> list[tuple[str, str]]:
    width = 32 if family == 4 else 128
    return sorted(
        {
            (f"{session.neighbor}/{width}", str(session.reachable_by))
            for session in sessions
            if session.family == family and session.reachable_by is not None
        }
    )


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
    workloads = (f"{prefix}*" for prefix in settings.workload_prefixes)
    return list(dict.fromkeys([*settings.ignored_interfaces, *workloads, *_NEVER_DIRECT]))


def _pools(state: BgpState, wanted: Callable[[IPPool], bool]) -> dict[Family, list[str]]:
    """Return the address ranges of the pools that are *wanted*, in order."""
    cidrs = {pool.spec.cidr for pool in state.pools.values() if wanted(pool)}
    return _by_family(n for cidr in cidrs if (n := parse_network(cidr)) is not None)


def _by_family(networks: Iterable[Network]) -> dict[Family, list[str]]:
    """Return each network once, in order."""
    found = set(networks)
    return {f: [str(n) for n in sorted(n for n in found if n.version == f)] for f in FAMILIES}


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


@functools.cache
def environment() -> jinja2.Environment:
    """Return the templates of this package."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("calico_openstack.bgp"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        # The text is no markup, and what goes into it is checked by render.py.
        autoescape=False,
    )
