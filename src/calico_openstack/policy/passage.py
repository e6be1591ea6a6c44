"""A packet's whole way through a host: who is asked where, and what each says.

The first packet of a flow is followed from where it enters the host, or is sent by it, to where it
leaves or is received (specification sections 3.3, 3.4 and 3.8 to 3.11). Steps are in the order in
which the host takes them; the first that refuses is the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final, NamedTuple

from msgspec import Struct, field

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.policy.addresses import Prefix, pack_prefix
from calico_openstack.policy.evaluation import Members, Reason, evaluate, evaluate_tiers
from calico_openstack.policy.host_interfaces import EVERY_INTERFACE
from calico_openstack.policy.packet import Direction, Packet
from calico_openstack.policy.rules import (
    Action,
    EndpointPolicy,
    HostEndpointPolicy,
    RuleBlock,
    Tiers,
)

_IN, _OUT = Direction.INGRESS, Direction.EGRESS
_TCP, _UDP, _IPIP, _ICMPV6 = 6, 17, 4, 58
# What hosts must hear from workloads, and what they must say and hear in any case (RFC 4861).
_NEIGHBOUR_DISCOVERY: Final = frozenset({130, 131, 132, 133, 135, 136})
_NEIGHBOURS: Final = frozenset({135, 136})
_DHCP: Final = {4: (68, 67), 6: (546, 547)}
_LINK_LOCAL: Final = pack_prefix("fe80::/10")


class AlwaysOpen(NamedTuple):
    """A port that policy of host endpoints never closes; *network* None: for everybody."""

    protocol: int
    network: Prefix | None
    port: int


class HostRules(Struct, frozen=True):
    """What is decided by parameters alone.

    *metadata* is the address and port of the metadata service, *vxlan_port* what workloads must not
    send to; None: none. *open_inbound*, *open_outbound*: what host endpoints never close.
    """

    workload_prefixes: tuple[str, ...] = ("tap",)
    openstack: bool = True
    metadata: tuple[bytes, int] | None = None
    workloads_reach_host: bool = False
    vxlan_port: int | None = 4789
    ipip: bool = False
    open_inbound: tuple[AlwaysOpen, ...] = ()
    open_outbound: tuple[AlwaysOpen, ...] = ()

    def is_workload(self, interface: str) -> bool:
        """Tell whether an interface is one of a workload."""
        return bool(interface) and interface.startswith(self.workload_prefixes)

    def opens(self, listed: Direction, address: bytes, protocol: int, port: int | None) -> bool:
        """Tell whether a port is always open in the *listed* direction, to or from *address*."""
        entries = self.open_inbound if listed is _IN else self.open_outbound
        return any(
            (entry.protocol, entry.port) == (protocol, port)
            and (entry.network is None or entry.network.covers(address))
            for entry in entries
        )


class WorkloadInterface(NamedTuple):
    """The workload endpoint of an interface: its policy and the sources that it may use."""

    key: ResourceKey
    policy: EndpointPolicy
    sources: tuple[Prefix, ...]


class Host(Struct, frozen=True):
    """A host's endpoints by interface, and what their policies need.

    *host_endpoints* has under `EVERY_INTERFACE` the one for interfaces that have no other.
    """

    rules: HostRules
    workloads: Mapping[str, WorkloadInterface]
    host_endpoints: Mapping[str, tuple[ResourceKey, HostEndpointPolicy]]
    blocks: Mapping[ResourceKey, RuleBlock]
    members: Members


class Place(Enum):
    """Where on its way a packet is asked about."""

    SPOOFING = "the workload's own source"
    UNTRACKED = "before connection tracking"
    PRE_DNAT = "before translation"
    FIXED = "what no workload may send"
    SERVICE = "what the host offers to all workloads"
    WORKLOAD = "the workload's policy"
    TO_HOST = "workloads to their host"
    FORWARD = "what the host's interface forwards"
    HOST = "the host itself"
    FAILSAFE = "ports that are always open"


class Step(Struct, frozen=True):
    """What was decided at one place. *allowed* None: nothing, the packet goes on."""

    place: Place
    direction: Direction
    endpoint: ResourceKey | None
    allowed: bool | None
    reasons: tuple[Reason, ...] = ()


class Passage(Struct, frozen=True):
    """What becomes of a packet, and every step to it. *tracked*: connections are tracked."""

    allowed: bool
    tracked: bool
    steps: tuple[Step, ...]


class _Refused(Exception):  # noqa: N818 - ends the way, not an error
    pass


def passage(
    host: Host, packet: Packet, incoming: str, outgoing: str, translated: Packet | None = None
) -> Passage:
    """Follow *packet* from the interface *incoming* to *outgoing*.

    An empty name stands for the host itself. *translated* is the packet after its destination was
    translated, if it was.
    """
    way = _Way(host, packet)
    try:
        if incoming:
            way.enter(incoming)
        way.packet = translated or packet
        if not outgoing:
            way.arrive(incoming)
        elif incoming:
            way.forward(incoming, outgoing)
        else:
            way.depart(outgoing)
    except _Refused:
        return Passage(allowed=False, tracked=way.tracked, steps=tuple(way.steps))
    return Passage(allowed=True, tracked=way.tracked, steps=tuple(way.steps))


class _Way(Struct):
    """A packet under way. *excused*: an early policy allowed it, later ones are not asked."""

    host: Host
    packet: Packet
    tracked: bool = True
    excused: bool = False
    steps: list[Step] = field(default_factory=list)

    def enter(self, interface: str) -> None:
        """Pass what comes before routing."""
        if self.host.rules.is_workload(interface):
            endpoint = self._workload(interface)
            allowed = endpoint is not None and self._may_use_source(endpoint)
            self._note(Place.SPOOFING, _OUT, endpoint and endpoint.key, allowed)
            return
        self._ask_untracked(_IN, interface)
        if self.excused:
            return
        found = self._governor(interface)
        if found and found[1].pre_dnat and not self._is_open(_IN):
            self.excused = self._ask(Place.PRE_DNAT, _IN, found[0], found[1].pre_dnat)

    def arrive(self, interface: str) -> None:
        """Reach the host itself."""
        if self.host.rules.is_workload(interface):
            if not self._is_service():
                self._ask_workload(_OUT, interface)
                reaches = self.host.rules.workloads_reach_host
                self._note(Place.TO_HOST, _IN, None, reaches)
            return
        self._ask_host(_IN, interface)

    def forward(self, incoming: str, outgoing: str) -> None:
        """Pass from one interface to another."""
        if self.host.rules.is_workload(incoming):
            self._ask_workload(_OUT, incoming)
        elif not self.excused:
            self._ask_forward(_IN, incoming)
        if self.host.rules.is_workload(outgoing):
            self._ask_workload(_IN, outgoing)
        else:
            self._ask_forward(_OUT, outgoing)

    def depart(self, interface: str) -> None:
        """Leave the host that sent it; its own workloads it always reaches."""
        if not self.host.rules.is_workload(interface):
            self._ask_untracked(_OUT, interface)
            self._ask_host(_OUT, interface)

    # --- who is asked -------------------------------------------------------------------------

    def _ask_untracked(self, direction: Direction, interface: str) -> None:
        found = self.host.host_endpoints.get(interface)
        if found and found[1].untracked and not self._is_open(direction, stateless=True):
            self.excused = self._ask(Place.UNTRACKED, direction, found[0], found[1].untracked)
            self.tracked = not self.excused

    def _ask_forward(self, direction: Direction, interface: str) -> None:
        found = self._governor(interface)
        if found and found[1].forward:
            self._ask(Place.FORWARD, direction, found[0], found[1].forward)

    def _ask_host(self, direction: Direction, interface: str) -> None:
        found = self._governor(interface)
        if self.excused or found is None:
            return
        if self._is_open(direction):
            self._note(Place.FAILSAFE, direction, found[0], allowed=True)
            return
        self._ask_policy(Place.HOST, direction, found[0], found[1].normal)

    def _ask_workload(self, direction: Direction, interface: str) -> None:
        packet, rules = self.packet, self.host.rules
        if direction is _OUT:
            vxlan = packet.protocol == _UDP and packet.destination_port == rules.vxlan_port
            if (vxlan and rules.vxlan_port) or (packet.protocol == _IPIP and not rules.ipip):
                self._note(Place.FIXED, direction, None, allowed=False)
        endpoint = self._workload(interface)
        if endpoint is None:
            self._note(Place.WORKLOAD, direction, None, allowed=False)
        else:
            self._ask_policy(Place.WORKLOAD, direction, endpoint.key, endpoint.policy)

    def _ask(self, place: Place, direction: Direction, key: ResourceKey, tiers: Tiers) -> bool:
        """Ask *tiers*; return whether they allow."""
        host = self.host
        action, reasons = evaluate_tiers(tiers, host.blocks, direction, self.packet, host.members)
        allowed = None if action is None else action is Action.ALLOW
        self._note(place, direction, key, allowed, reasons)
        return bool(allowed)

    def _ask_policy(
        self, place: Place, direction: Direction, key: ResourceKey, policy: EndpointPolicy
    ) -> None:
        host = self.host
        verdict = evaluate(policy, host.blocks, direction, self.packet, host.members)
        self._note(place, direction, key, verdict.allowed, verdict.reasons)

    def _note(
        self,
        place: Place,
        direction: Direction,
        endpoint: ResourceKey | None,
        allowed: bool | None,
        reasons: tuple[Reason, ...] = (),
    ) -> None:
        self.steps.append(Step(place, direction, endpoint, allowed, reasons))
        if allowed is False:
            raise _Refused

    def _workload(self, interface: str) -> WorkloadInterface | None:
        """Return the endpoint of an interface; one without addresses of the family is none."""
        endpoint = self.host.workloads.get(interface)
        if endpoint is None:
            return None
        size = len(self.packet.source)
        return endpoint if any(len(each.network) == size for each in endpoint.sources) else None

    # --- what needs no policy -----------------------------------------------------------------

    def _governor(self, interface: str) -> tuple[ResourceKey, HostEndpointPolicy] | None:
        endpoints = self.host.host_endpoints
        return endpoints.get(interface) or endpoints.get(EVERY_INTERFACE)

    def _may_use_source(self, endpoint: WorkloadInterface) -> bool:
        packet = self.packet
        if any(prefix.covers(packet.source) for prefix in endpoint.sources):
            return True
        if packet.ip_version == 6:
            return _LINK_LOCAL.covers(packet.source) or not any(packet.source)
        return self.host.rules.openstack and not any(packet.source) and self._is_dhcp()

    def _is_service(self) -> bool:
        packet, rules = self.packet, self.host.rules
        offered = (
            packet.protocol == _ICMPV6
            and packet.ip_version == 6
            and packet.icmp_type in _NEIGHBOUR_DISCOVERY
        )
        if rules.openstack:
            metadata = packet.protocol == _TCP and rules.metadata == (
                packet.destination,
                packet.destination_port,
            )
            dns = packet.protocol == _UDP and packet.destination_port == 53
            offered = offered or metadata or dns or self._is_dhcp()
        if offered:
            self._note(Place.SERVICE, _IN, None, allowed=True)
        return offered

    def _is_dhcp(self) -> bool:
        packet = self.packet
        ports = packet.source_port, packet.destination_port
        return packet.protocol == _UDP and ports == _DHCP[packet.ip_version]

    def _is_open(self, direction: Direction, *, stateless: bool = False) -> bool:
        """Tell whether host endpoints must let the packet through, or the answer to one."""
        packet, opens = self.packet, self.host.rules.opens
        if packet.protocol == _ICMPV6 and packet.icmp_type in _NEIGHBOURS:
            return packet.ip_version == 6
        far = packet.source if direction is _IN else packet.destination
        if opens(direction, far, packet.protocol, packet.destination_port):
            return True
        opposite = _OUT if direction is _IN else _IN
        return stateless and opens(opposite, far, packet.protocol, packet.source_port)
