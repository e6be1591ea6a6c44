"""The stanza of one BGP session in BIRD's configuration, as lines for the template. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from calico_openstack.bgp.detection import Family
from calico_openstack.bgp.extras import Bfd, Limit
from calico_openstack.bgp.filters import Direction, function_name, rules_of
from calico_openstack.bgp.session import Scope, Session
from calico_openstack.bgp.settings import SecretRef, Settings
from calico_openstack.bgp.state import BgpState
from calico_openstack.bgp.version import OLDEST_SUPPORTED, BirdVersion
from calico_openstack.datamodel.addresses import Network

AGGREGATES: Final = "calico_aggregates"
"""The protocol that aggregates come from, without the family at its end."""

# GRACEFUL_SHUTDOWN of RFC 8326.
_GRACEFUL_SHUTDOWN: Final = "(65535, 0)"

# Seconds that fit into 12 bits (RFC 4724 section 3).
_LONGEST_RESTART_TIME: Final = 4095
# BIRD's own, where no annotation says otherwise.
_HOLD_TIME: Final = 240


@dataclass(frozen=True, slots=True)
class HostOptions:
    """What the host's own configuration says about BIRD.

    ``like_kubernetes`` has the host announce and trust as upstream does on hosts of Kubernetes.
    ``router_id`` is ``hash``, an IPv4 address, or empty for the host's IPv4 address.
    ``log_file`` empty logs to syslog. ``service_interface`` holds the addresses of services on the
    host itself, which it announces.
    """

    router_id: str = ""
    log_file: str = ""
    service_interface: str = "dummy1"
    like_kubernetes: bool = False
    version: BirdVersion = OLDEST_SUPPORTED


def session_context(
    session: Session,
    settings: Settings,
    passwords: Mapping[SecretRef, str],
    state: BgpState,
    options: HostOptions,
    *,
    aggregates: Mapping[Family, Sequence[Network]],
) -> dict[str, Any]:
    """Return what the template shows of a session; its password is in *passwords* or absent.

    *aggregates* are the networks that this session announces in place of the workloads in them, by
    family.
    """
    return {
        "name": session.name,
        "description": string_text(_description(session)),
        "disabled": comment_text(session.disabled),
        "local": _local(session, settings),
        "neighbor": _neighbor(session),
        "options": list(_session_options(session, settings, passwords, options)),
        "channels": [
            {
                "family": family,
                "options": list(_channel_options(session, family, options)),
                "import_calls": list(_import_calls(session, family, state, options)),
                "export_calls": [
                    *_export_calls(session, family, settings, state),
                    *_aggregate_calls(family, aggregates.get(family, ())),
                    *_origin_calls(session, family, settings, options),
                ],
            }
            for family in session.families
        ],
    }


def _description(session: Session) -> str:
    return f"{session.resource}: {session.node}" if session.node else session.resource


def _local(session: Session, settings: Settings) -> str:
    address = session.source
    if settings.bind_to_node_address:
        address = settings.addresses.get(session.family)
    parts = [str(address)] if address is not None else []
    if settings.listen_port:
        parts.append(f"port {settings.listen_port}")
    return " ".join([*parts, f"as {session.local_as}"])


def _neighbor(session: Session) -> str:
    place = f"%'{session.interface}'" if session.interface else ""
    port = f" port {session.port}" if session.port else ""
    return f"{session.neighbor}{place}{port} as {session.remote_as}"


def _session_options(
    session: Session,
    settings: Settings,
    passwords: Mapping[SecretRef, str],
    options: HostOptions,
) -> Iterable[str]:
    yield from _reach(session)
    if settings.bind_to_node_address:
        yield "strict bind on"
    if session.passive:
        yield "passive on"
    if session.password is not None and session.password in passwords:
        if options.version.wants_authentication:
            yield "authentication md5"
        yield f'password "{passwords[session.password]}"'
    if session.restart_time is not None:
        yield f"graceful restart time {min(session.restart_time, _LONGEST_RESTART_TIME)}"
    if session.keepalive_time is not None:
        hold_time = session.extras.hold_time or _HOLD_TIME
        # BIRD refuses one that is longer than the hold time; a third of it is usual (RFC 4271).
        short = session.keepalive_time <= hold_time
        yield f"keepalive time {max(session.keepalive_time, 1) if short else hold_time // 3}"
    if session.cluster_id:
        yield "rr client"
        yield f"rr cluster id {session.cluster_id}"
    if session.allow_local_as is not None:
        yield f"allow local as {session.allow_local_as}"


def _reach(session: Session) -> Iterable[str]:
    """How far off the neighbour is, and how its loss is noticed."""
    if session.hops:
        yield "ttl security on"
    if session.extras.direct:
        yield "direct"
        yield "check link on"
    else:
        yield f"multihop {session.hops}" if session.hops else "multihop"
    if session.extras.bfd is not None:
        yield bfd_option(session.extras.bfd)
    if session.extras.hold_time is not None:
        yield f"hold time {session.extras.hold_time}"


def _channel_options(session: Session, family: Family, options: HostOptions) -> Iterable[str]:
    if not session.interface:
        # A link-local next hop is on the session's own link and needs no route to be found.
        yield "gateway recursive"
    elif family == 4:
        yield "extended next hop on"
    if session.internal or options.like_kubernetes:
        # All paths of an anycast address pass a route reflector, not only the best.
        yield "add paths on"
    if session.next_hop is not None:
        yield f"next hop {session.next_hop.value}"
    yield _limit("receive", session.extras.receive_limit)
    if session.extras.export_limit is not None:
        yield _limit("export", session.extras.export_limit)


def bfd_option(bfd: Bfd) -> str:
    """Return the option of a session that asks for BFD."""
    send, receive = f"min tx interval {bfd.send} ms", f"min rx interval {bfd.receive} ms"
    mode = " graceful;" if bfd.graceful else ""
    return f"bfd {{ {send}; {receive}; multiplier {bfd.multiplier};{mode} }}"


def _limit(direction: str, limit: Limit) -> str:
    return f"{direction} limit {limit.routes} action {limit.action}"


def _import_calls(
    session: Session, family: Family, state: BgpState, options: HostOptions
) -> Iterable[str]:
    if session.scope is Scope.WORKLOAD:
        # A workload has no say in how good its routes are.
        yield f"bgp_local_pref = CALICO_PRIORITY_BASE - CALICO_NORMAL{family}"
    yield f"calico_graceful_shutdown{family}()"
    yield from _filter_calls(session, family, Direction.IMPORT, state)
    if session.scope is Scope.WORKLOAD and not options.like_kubernetes:
        # It could claim any address, so it gets what filters accept.
        yield "reject"
    yield f"calico_prefer{family}()"


def _export_calls(
    session: Session, family: Family, settings: Settings, state: BgpState
) -> Iterable[str]:
    yield f"calico_priority_out{family}()"
    if not session.internal:
        # LOCAL_PREF stays inside the AS; a router compares the metrics of its neighbours in one AS
        # (RFC 4271 section 5.1.4), and so follows a workload that moves.
        yield "if source != RTS_BGP then bgp_med = krt_metric"
    if settings.draining:
        yield f"bgp_community.add({_GRACEFUL_SHUTDOWN})"
    yield from _filter_calls(session, family, Direction.EXPORT, state)
    yield f"calico_prepare{family}()"
    if not session.internal and session.scope is not Scope.WORKLOAD:
        yield f"calico_moving{family}()"


def _origin_calls(
    session: Session, family: Family, settings: Settings, options: HostOptions
) -> Iterable[str]:
    yield f"calico_originate{family}()"
    if options.like_kubernetes:
        yield f"calico_like_kubernetes{family}()"
    elif settings.cluster_id and session.scope is not Scope.WORKLOAD:
        yield "if source = RTS_BGP then accept"


def _aggregate_calls(family: Family, aggregates: Sequence[Network]) -> Iterable[str]:
    """Announce aggregates in place of the routes in them, except those of moving workloads."""
    if not aggregates:
        return
    networks = ", ".join(map(str, aggregates))
    inside = ", ".join(f"{network}+" for network in aggregates)
    normal = f"CALICO_PRIORITY_BASE - CALICO_NORMAL{family}"
    yield f'if (proto = "{AGGREGATES}{family}" && net ~ [ {networks} ]) then accept'
    yield f"if (net ~ [ {inside} ] && bgp_local_pref <= {normal}) then reject"


def _filter_calls(
    session: Session, family: Family, direction: Direction, state: BgpState
) -> Iterable[str]:
    if session.disabled:
        return
    external = "false" if session.internal else "true"
    for name in session.filters:
        if rules_of(state.filters[name], direction, family):
            yield f"{function_name(name, direction, family)}({external})"


def string_text(text: str) -> str:
    """Return *text* without what would end one of BIRD's strings."""
    return "".join(c if c.isprintable() and c != '"' else "?" for c in text)


def comment_text(text: str) -> str:
    """Return *text* on one line."""
    return "".join(c if c.isprintable() else "?" for c in text)
