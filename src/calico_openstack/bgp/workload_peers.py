"""BGP sessions with workloads of the host (``localWorkloadSelector``). Pure.

A workload calls its host, which waits for it. Which workloads may is decided by the labels of
their endpoints, and by ``node`` or ``nodeSelector`` for the hosts. Of several BGPPeers that choose
one workload the first by name counts.
"""

from __future__ import annotations

from collections.abc import Iterator

from calico_openstack.bgp.session import Scope, Session
from calico_openstack.bgp.settings import FAMILIES, Settings, Speaker, can_be_peer
from calico_openstack.bgp.state import BgpState, Problem
from calico_openstack.datamodel.addresses import Address, parse_address
from calico_openstack.datamodel.asnumber import as_number
from calico_openstack.datamodel.bgp import BGPPeer, BGPPeerSpec
from calico_openstack.datamodel.endpoints import WorkloadEndpoint
from calico_openstack.datamodel.selector import SelectorError, parse


def workload_sessions(
    state: BgpState, settings: Settings, own: Speaker
) -> tuple[tuple[Session, ...], tuple[Problem, ...]]:
    """Return the sessions with this host's workloads and the BGPPeers that cannot be used."""
    sessions: dict[str, Session] = {}
    problems: list[Problem] = []
    chosen: set[str] = set()
    for name, peer in sorted(state.peers.items()):
        if not peer.spec.local_workload_selector:
            continue
        try:
            if not _is_near(peer.spec, own):
                continue
            selector = parse(peer.spec.local_workload_selector)
        except SelectorError as error:
            problems.append(Problem(f"BGPPeer {name}", "spec", str(error)))
            continue
        for key, workload in sorted(state.workloads.items()):
            if key not in chosen and selector.matches(workload.metadata.labels):
                chosen.add(key)
                for session in _sessions(peer, workload, settings):
                    sessions.setdefault(session.name, session)
    return tuple(sessions.values()), tuple(problems)


def _is_near(spec: BGPPeerSpec, own: Speaker) -> bool:
    if spec.node:
        return spec.node == own.name
    return not spec.node_selector or parse(spec.node_selector).matches(own.labels)


def _sessions(peer: BGPPeer, workload: WorkloadEndpoint, settings: Settings) -> Iterator[Session]:
    """Yield a session with the first address of each family in which the host has one."""
    spec = peer.spec
    remote_as = None if spec.as_number is None else as_number(spec.as_number)
    local_as = None if spec.local_as_number is None else as_number(spec.local_as_number)
    if remote_as is None:
        return
    for family in FAMILIES:
        address = _first_address(workload, family)
        if address is None or family not in settings.addresses:
            continue
        yield Session(
            scope=Scope.WORKLOAD,
            family=family,
            neighbor=address,
            port=None,
            remote_as=remote_as,
            local_as=local_as or settings.as_number,
            source=None,
            resource=f"BGPPeer {peer.metadata.name}",
            passive=True,
            filters=spec.filters,
        )


def _first_address(workload: WorkloadEndpoint, family: int) -> Address | None:
    for text in workload.spec.ip_networks:
        address = parse_address(text.partition("/")[0])
        if address is not None and address.version == family and can_be_peer(address):
            return address
    return None
