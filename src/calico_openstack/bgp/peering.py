"""From BGPPeers, Nodes and BGPConfiguration to the BGP sessions of one host. Pure.

A BGPPeer describes sessions from both of its ends. Its remote ends are those of ``peerIP`` or the
nodes of ``peerSelector``; the nodes of ``node`` or ``nodeSelector`` (all, if both are empty) have a
session with each. Unless ``reversePeering`` is Manual, remote ends that are nodes themselves get
the matching session back. BGPPeers are taken in order of their names, and the first session for an
address and port wins: global ones before those of the node, both before reverse ones, all before
the full mesh. BGPPeers with workloads are in ``workload_peers``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from calico_openstack.bgp.detection import Family
from calico_openstack.bgp.extras import Extras, extras_of
from calico_openstack.bgp.session import NextHop, Scope, Session
from calico_openstack.bgp.settings import (
    FAMILIES,
    REGION_LABEL,
    SecretRef,
    Settings,
    Speaker,
    can_be_peer,
    seconds,
    secret_ref,
    speakers,
)
from calico_openstack.bgp.state import BgpState, Problem, RefusedError
from calico_openstack.bgp.workload_peers import workload_sessions
from calico_openstack.datamodel.addresses import Address, parse_address
from calico_openstack.datamodel.asnumber import as_number
from calico_openstack.datamodel.bgp import BGPPeer, BGPPeerSpec
from calico_openstack.datamodel.selector import SelectorError, parse
from calico_openstack.datamodel.validation.bgp import parse_peer_ip

# Each host of a mesh has a session with each other, so the cluster's grow with the square.
_LARGE_MESH: Final = 100
_LARGEST_MESH: Final = 250


@dataclass(frozen=True, slots=True)
class _RemoteEnd:
    """The far end of a session. ``by_address`` tells a ``peerIP`` from a selected node."""

    address: Address
    port: int | None
    as_number: int
    node: str
    cluster_id: str = ""
    by_address: bool = False


_Table = dict[tuple[Address, int | None, str], Session]


def sessions_of(
    state: BgpState, settings: Settings
) -> tuple[tuple[Session, ...], tuple[Problem, ...]]:
    """Return this host's sessions, sorted by name, and the BGPPeers that had to be left out.

    Raises RefusedError for a mesh of more hosts than there may be.
    """
    if settings.speaker is None:
        return (), ()
    planner = _Planner(state, settings, settings.speaker)
    explicit = planner.explicit()
    taken = {session.neighbor for session in explicit}
    mesh = list(planner.mesh())
    problems = (*planner.problems, *_mesh_problems(mesh, settings))
    mesh, shared = _each_address_once(s for s in mesh if s.neighbor not in taken)
    workloads, workload_problems = workload_sessions(state, settings, settings.speaker)
    found = sorted([*explicit, *mesh, *workloads], key=lambda session: session.name)
    return tuple(found), (*problems, *shared, *workload_problems)


def _each_address_once(mesh: Iterable[Session]) -> tuple[list[Session], list[Problem]]:
    """Leave out sessions with nodes that claim the address of one before them.

    BIRD refuses a second protocol of the same name, and the first would go with it.
    """
    first: dict[Address, Session] = {}
    problems = []
    for session in mesh:
        holder = first.setdefault(session.neighbor, session).node
        if holder != session.node:
            reason = f"{session.neighbor} is the address of Node {holder} too, whose session it is"
            problems.append(Problem(f"Node {session.node}", "spec.bgp", reason))
    return list(first.values()), problems


def _mesh_problems(mesh: list[Session], settings: Settings) -> Iterator[Problem]:
    hosts = len({session.node for session in mesh}) + 1
    limit = settings.mesh_limit
    if hosts > (_LARGEST_MESH if limit is None else limit):
        raise RefusedError(
            f"BGPConfiguration default: a full mesh of {hosts} hosts; use route reflectors, or "
            f"allow it by the annotation mesh-limit"
        )
    if hosts > _LARGE_MESH and limit is None:
        reason = f"the mesh has {hosts} hosts; above {_LARGE_MESH} route reflectors serve better"
        yield Problem("BGPConfiguration default", "spec.nodeToNodeMeshEnabled", reason)


def skip_missing_filters(sessions: tuple[Session, ...], state: BgpState) -> tuple[Session, ...]:
    """Leave out the filters that cannot be had."""
    return tuple(
        replace(session, filters=tuple(n for n in session.filters if n in state.filters))
        for session in sessions
    )


def close_untrusted(
    sessions: tuple[Session, ...], state: BgpState, passwords: Mapping[SecretRef, str]
) -> tuple[Session, ...]:
    """Disable each session whose password or filter cannot be had, with the reason."""
    return tuple(
        replace(session, disabled=_reason_to_close(session, state, passwords))
        for session in sessions
    )


def _reason_to_close(session: Session, state: BgpState, passwords: Mapping[SecretRef, str]) -> str:
    if session.password is not None and session.password not in passwords:
        return f"password {session.password.name}/{session.password.key} is not available"
    for name in session.filters:
        if ("BGPFilter", name) in state.invalid:
            return f"BGPFilter {name} is invalid"
        if name not in state.filters:
            return f"BGPFilter {name} does not exist"
    return ""


class _Planner:
    """Works out the sessions of one host; see the module's description for the rules."""

    def __init__(self, state: BgpState, settings: Settings, own: Speaker) -> None:
        self._settings = settings
        self._own = own
        self._peers = [
            peer for _, peer in sorted(state.peers.items()) if not peer.spec.local_workload_selector
        ]
        self._speakers = list(speakers(state).values())
        self._extras: dict[str, Extras] = {}
        self.problems: list[Problem] = []

    def mesh(self) -> Iterator[Session]:
        """Yield the full mesh; nodes that reflect routes take no part in it."""
        if not self._settings.mesh_enabled or self._own.cluster_id:
            return
        for speaker in self._speakers:
            if speaker.name == self._own.name or speaker.cluster_id:
                continue
            if self._in_another_region(speaker):
                continue
            for end in self._ends_at(speaker):
                own = self._own.addresses.get(end.address.version)
                if own is None or own == end.address:
                    continue
                yield Session(
                    scope=Scope.MESH,
                    family=end.address.version,
                    neighbor=end.address,
                    port=end.port,
                    remote_as=end.as_number,
                    local_as=self._settings.as_number,
                    source=own,
                    resource="node-to-node mesh",
                    node=end.node,
                    passive=str(end.address) > str(own),
                    password=self._settings.mesh_password,
                    restart_time=self._settings.mesh_restart_time,
                    extras=self._settings.mesh_extras,
                )

    def _in_another_region(self, speaker: Speaker) -> bool:
        regions = {s.labels.get(REGION_LABEL, "") for s in (self._own, speaker)}
        return len(regions) > 1

    def explicit(self) -> list[Session]:
        """Return the sessions that BGPPeers ask for."""
        everywhere: _Table = {}
        here: _Table = {}
        usable = [peer for peer in self._peers if self._usable(peer)]
        for peer in usable:
            if not peer.spec.node and not peer.spec.node_selector:
                self._insert(everywhere, {}, Scope.GLOBAL, peer, self._remote_ends(peer.spec))
        for peer in usable:
            spec = peer.spec
            if (spec.node or spec.node_selector) and self._is_near(spec, self._own):
                self._insert(here, everywhere, Scope.NODE, peer, self._remote_ends(spec))
        for peer in usable:
            if peer.spec.reverse_peering != "Manual":
                self._insert(here, everywhere, Scope.NODE, peer, self._reverse_ends(peer.spec))
        return [*everywhere.values(), *here.values()]

    def _usable(self, peer: BGPPeer) -> bool:
        """Whether a BGPPeer can be worked with; says why where it cannot."""
        spec = peer.spec
        for member, text in (
            ("spec.nodeSelector", spec.node_selector),
            ("spec.peerSelector", spec.peer_selector),
        ):
            try:
                parse(text)
            except SelectorError as error:
                self._leave_out(peer, member, str(error))
                return False
        endpoint = parse_peer_ip(spec.peer_ip)
        interface = self._extras_of(peer).interface
        if interface and self._settings.bind_to_node_address:
            reason = "with bindMode NodeIP nothing listens on link-local addresses"
            self._leave_out(peer, "annotation interface", reason)
            return False
        if not spec.peer_selector and (
            endpoint is None or not (interface or can_be_peer(endpoint[0]))
        ):
            self._leave_out(peer, "spec.peerIP", f"{spec.peer_ip!r} cannot be a peer")
            return False
        if spec.reachable_by and _gateway(spec) is None:
            self._leave_out(peer, "spec.reachableBy", "no address of the peer's family")
            return False
        return True

    def _extras_of(self, peer: BGPPeer) -> Extras:
        """Return what the annotations of a BGPPeer add, without what its fields rule out."""
        name = peer.metadata.name
        if name in self._extras:
            return self._extras[name]
        extras, problems = extras_of(f"BGPPeer {name}", peer.metadata.annotations)
        self.problems += problems
        spec = peer.spec
        endpoint = parse_peer_ip(spec.peer_ip)
        link_local = endpoint is not None and endpoint[0].version == 6 and endpoint[0].is_link_local
        if extras.interface and not link_local:
            self._leave_out(peer, "annotation interface", "the peer's address is not link-local")
            extras = replace(extras, interface="")
        further = bool(spec.reachable_by) or (spec.ttl_security or 1) > 1
        if extras.direct and further:
            self._leave_out(peer, "annotation direct", "the spec says that the peer is further off")
        extras = replace(extras, direct=(extras.direct or bool(extras.interface)) and not further)
        unbound = spec.source_address == "None" and not self._settings.bind_to_node_address
        if extras.bfd and unbound and not extras.interface:
            self._leave_out(peer, "annotation bfd", "BFD needs a source address")
            extras = replace(extras, bfd=None)
        self._extras[name] = extras
        return extras

    def _leave_out(self, peer: BGPPeer, member: str, reason: str) -> None:
        self.problems.append(Problem(f"BGPPeer {peer.metadata.name}", member, reason))

    def _insert(
        self, table: _Table, before: _Table, scope: Scope, peer: BGPPeer, ends: Iterator[_RemoteEnd]
    ) -> None:
        interface = self._extras_of(peer).interface
        for end in ends:
            key = (end.address, end.port, interface)
            own = self._own.addresses.get(end.address.version)
            there = bool(interface) or (own is not None and own != end.address)
            if there and key not in before:
                table.setdefault(key, self._session(scope, peer, end, own))

    def _is_near(self, spec: BGPPeerSpec, speaker: Speaker) -> bool:
        """Whether *speaker* is one of the nodes that a BGPPeer gives sessions to."""
        if spec.node:
            return spec.node == speaker.name
        return not spec.node_selector or parse(spec.node_selector).matches(speaker.labels)

    def _remote_ends(self, spec: BGPPeerSpec) -> Iterator[_RemoteEnd]:
        if spec.peer_selector:
            selector = parse(spec.peer_selector)
            for speaker in self._speakers:
                if selector.matches(speaker.labels):
                    yield from self._ends_at(speaker)
            return
        split = parse_peer_ip(spec.peer_ip)
        if split is None:
            return
        address, port = split
        remote_as = self._as_number(spec)
        holders = [s for s in self._speakers if s.addresses.get(address.version) == address]
        if port is None:
            for speaker in holders:
                if self._as_of(speaker) == remote_as:
                    port = speaker.listen_port
                    break
        name = holders[0].name if holders else ""
        yield _RemoteEnd(address, port, remote_as, node=name, by_address=True)

    def _reverse_ends(self, spec: BGPPeerSpec) -> Iterator[_RemoteEnd]:
        """Yield the near nodes of a BGPPeer, if this host is one of its remote ends."""
        families = self._families_at_remote_end(spec)
        for speaker in self._speakers if families else ():
            if speaker.name != self._own.name and self._is_near(spec, speaker):
                yield from (e for e in self._ends_at(speaker) if e.address.version in families)

    def _families_at_remote_end(self, spec: BGPPeerSpec) -> tuple[Family, ...]:
        if spec.peer_selector:
            return FAMILIES if parse(spec.peer_selector).matches(self._own.labels) else ()
        split = parse_peer_ip(spec.peer_ip)
        if split is None:
            return ()
        address, port = split
        family = address.version
        if self._own.addresses.get(family) != address:
            return ()
        if self._settings.as_number != self._as_number(spec):
            return ()
        if port is not None and port != (self._own.listen_port or 179):
            return ()
        return (family,)

    def _ends_at(self, speaker: Speaker) -> Iterator[_RemoteEnd]:
        for _, address in sorted(speaker.addresses.items()):
            yield _RemoteEnd(
                address=address,
                port=speaker.listen_port,
                as_number=self._as_of(speaker),
                node=speaker.name,
                cluster_id=speaker.cluster_id,
            )

    def _as_of(self, speaker: Speaker) -> int:
        return speaker.as_number or self._settings.cluster_as_number

    def _as_number(self, spec: BGPPeerSpec) -> int:
        number = None if spec.as_number is None else as_number(spec.as_number)
        return number or self._settings.cluster_as_number

    def _session(
        self, scope: Scope, peer: BGPPeer, end: _RemoteEnd, own: Address | None
    ) -> Session:
        spec = peer.spec
        extras = self._extras_of(peer)
        local_as = None
        if end.by_address and spec.local_as_number is not None:
            local_as = as_number(spec.local_as_number)
        session = Session(
            scope=scope,
            family=end.address.version,
            neighbor=end.address,
            port=end.port,
            remote_as=end.as_number,
            local_as=local_as or self._settings.as_number,
            source=None if spec.source_address == "None" or extras.interface else own,
            resource=f"BGPPeer {peer.metadata.name}",
            node=end.node,
            # Both ends compare the addresses as text, and so agree on who calls whom.
            passive=scope is Scope.GLOBAL and bool(end.node) and str(end.address) > str(own),
            password=secret_ref(spec.password),
            restart_time=seconds(spec.max_restart_time),
            keepalive_time=seconds(spec.keepalive_time),
            hops=spec.ttl_security or None,
            allow_local_as=(spec.num_allowed_local_as_numbers or None) if end.by_address else None,
            filters=spec.filters,
            reachable_by=_gateway(spec),
            interface=extras.interface,
            extras=extras,
        )
        if session.internal and session.extras.aggregates:
            self._leave_out(peer, "annotation aggregates", "they are for neighbours in other ASs")
            session = replace(session, extras=replace(session.extras, aggregates=None))
        return replace(
            session,
            next_hop=_next_hop(spec, session.internal),
            cluster_id=self._reflection(session, end),
        )

    def _reflection(self, session: Session, end: _RemoteEnd) -> str:
        """Return the cluster id to reflect with, empty if the neighbour is no client."""
        if session.internal and self._own.cluster_id and end.cluster_id != self._own.cluster_id:
            return self._own.cluster_id
        return ""


def _next_hop(spec: BGPPeerSpec, internal: bool) -> NextHop | None:
    match spec.next_hop_mode:
        case "Self":
            return NextHop.SELF
        case "Keep":
            return NextHop.KEEP
    return NextHop.KEEP if spec.keep_original_next_hop and not internal else None


def _gateway(spec: BGPPeerSpec) -> Address | None:
    """Return the gateway towards a peer, None without one or if its family is another."""
    split = parse_peer_ip(spec.peer_ip)
    if not spec.reachable_by or split is None:
        return None
    gateway = parse_address(spec.reachable_by)
    return gateway if gateway and gateway.version == split[0].version else None
