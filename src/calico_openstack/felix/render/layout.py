"""The chains that do not depend on policy: hooks, dispatch, anti-spoofing, the host's services.

How a packet goes (all base chains have the policy accept; ``class`` and policy chains are made by
`class_chains` and `policy_chains`):

- raw-prerouting: from a workload with a source of its own: on; if it is for the metadata address,
  to the service (`metadata`). With another: anti-spoofing, which makes few exceptions and drops the
  rest.
- nat-prerouting: floating addresses lead to workloads (`nat`).
- filter-forward: packets above the rate of an endpoint that has one: drop. Established: accept.
  Invalid, and from or to a workload: drop. Then from-workload: by interface to the class chain;
  egress rules that allow go to egress-allowed, which drops what workloads must never send, and back
  here. Then, if it leaves by a workload's interface, to the class chain there; ingress rules that
  allow accept.
- filter-input: from a workload: workload-to-host accepts what the host offers to all workloads,
  then from-workload as above, then endpoint-to-host.

The look-ups by interface come before any comparison of its name, which costs as much: what has a
workload's name then has no endpoint, and is dropped.

With every rule or element that leads to a chain, Linux 6.1 follows all ways from all hooks anew,
and reads a map for each way to it (nft_table_validate). So what may be sent goes *back* to the one
place from where the receiver's map is looked into: a look-up at the end of each sender's way would
make the ways as many as the square of the endpoints. And no map is larger than it must be.

Packets from the host itself to its workloads are not filtered (specification section 3.8).
"""

from __future__ import annotations

from ipaddress import IPv6Network

from calico_openstack.felix.render import metadata, names
from calico_openstack.felix.render.host_layout import HostLayout, goto, of_workloads
from calico_openstack.felix.render.matches import ADDRESS_KEY, port_is, protocol_is
from calico_openstack.felix.render.nft import (
    ACCEPT,
    DROP,
    RETURN,
    Chain,
    Compare,
    Counter,
    CtState,
    CtStateIs,
    Expression,
    Field,
    Hook,
    InNetwork,
    InSet,
    KeyType,
    Rule,
    Set,
    Verdict,
    VerdictKind,
    VerdictMap,
)
from calico_openstack.felix.render.offload import offload
from calico_openstack.felix.render.settings import HostAction, RenderSettings
from calico_openstack.felix.render.tables import TableWriter
from calico_openstack.policy.packet import Direction

_UDP, _TCP, _IPIP, _ICMPV6 = 17, 6, 4, 58
_LINK_LOCAL = IPv6Network("fe80::/10")
_UNSPECIFIED = {4: bytes(4), 6: bytes(16)}
_SOURCE = {4: Field.IP_SADDR, 6: Field.IP6_SADDR}
# Multicast listener query, report and done; router solicitation, neighbour solicitation and
# advertisement (RFC 2710, RFC 4861).
_ICMPV6_SERVICES = (130, 131, 132, 133, 135, 136)
_DHCP_PORTS = {4: (68, 67), 6: (546, 547)}
_ARP_REPLY = b"\x00\x02"

_KNOWN = CtStateIs(CtState.ESTABLISHED | CtState.RELATED)
# More addresses than a host has: a set of a given size is quicker to look into.
_MOST_ADDRESSES = 1 << 16
# The sizes of the maps of endpoints, each for hosts with more endpoints than the one before. Of
# buckets the kernel makes a power of two, at least a third more than a size: just that many.
_MAP_SIZES = (3 << 10, 3 << 12, 3 << 14)
_NAME = {Direction.EGRESS: Field.IIFNAME, Direction.INGRESS: Field.OIFNAME}
_DROPPED = (Counter(), DROP)
_INVALID = "invalid to conntrack"


class IpLayout:
    """Writes the chains of one IP version's table that every host has.

    Some depend on what few hosts have: limits of endpoints, and host endpoints. Where there are
    none no packet pays for them.
    """

    def __init__(self, writer: TableWriter, version: int, settings: RenderSettings) -> None:
        self.version = version
        self.settings = settings
        self._writer = writer
        self._limits: frozenset[str] = frozenset()
        self._host = HostLayout(version, settings, {})
        self._offload: tuple[Rule, ...] = ()
        self._written: set[str] = set()
        if settings.flow_offload:
            writer.add_flowtable(names.FLOWTABLE)
            self._offload = offload(version, exceptions=False)
        sources = Set((KeyType.INTERFACE, ADDRESS_KEY[version]), size=_MOST_ADDRESSES)
        writer.add_set(names.WORKLOAD_SOURCES, sources, {})
        self._map_size = 0
        self.make_room(0)
        for name, chain in metadata.chains(version, settings).items():
            writer.put_chain(name, chain)
        writer.put_chain(names.ANTI_SPOOFING, anti_spoofing(version, settings, ()))
        writer.put_chain(names.ENDPOINT_TO_HOST, _endpoint_to_host(settings))
        self._put_chains()

    def make_room(self, endpoints: int) -> None:
        """Have the maps of endpoints large enough; they never shrink.

        In the kernel, maps of another size take a new table: few hosts ever need one.
        """
        size = next((each for each in _MAP_SIZES if endpoints <= each), _MAP_SIZES[-1])
        if size <= self._map_size:
            return
        self._map_size = size
        kind = Set((KeyType.INTERFACE,), verdicts=True, size=size)
        for name in (names.FROM_WORKLOAD, names.TO_WORKLOAD):
            self._writer.add_set(name, kind, self._writer.state.elements.get(name, {}))

    def limit(self, maps: frozenset[str]) -> None:
        """Look into *maps*, those of endpoints with limits that are there."""
        self._limits = maps
        self._put_chains()

    def offload(self, *, exceptions: bool) -> None:
        """Offload established flows, but for the *exceptions*, if there are any."""
        rules = offload(self.version, exceptions=exceptions)
        if rules != self._offload:
            self._offload = rules
            self._put_chains()

    def govern(self, host: HostLayout) -> None:
        """Lead the packets of the host's own interfaces to the policy of host endpoints."""
        self._host = host
        self._put_chains()

    def _put_chains(self) -> None:
        chains = {**self._host.chains(), **self._chains()}
        for name, chain in chains.items():
            self._writer.put_chain(name, chain)
        for name in self._written - chains.keys():
            self._writer.remove_chain(name)
        self._written = set(chains)

    def _chains(self) -> dict[str, Chain]:
        settings = self.settings
        from_workload = (
            *self._limiting(Direction.EGRESS, names.CONNECTIONS),
            Rule((VerdictMap((Field.IIF,), names.FROM_WORKLOAD),)),
            *_unknown(settings, Direction.EGRESS),
        )
        rates = self._limiting(Direction.EGRESS, names.PACKET_RATES)
        return self._forwarding() | {
            names.RAW_PREROUTING: Chain(
                (
                    _own_sources(self.version, settings),
                    *of_workloads(settings, Field.IIFNAME, goto(names.ANTI_SPOOFING)),
                    *self._host.untracked,
                ),
                Hook("filter", "prerouting", -300),
            ),
            names.FILTER_INPUT: Chain(
                (
                    *of_workloads(settings, Field.IIFNAME, goto(names.WORKLOAD_TO_HOST)),
                    *self._host.input,
                ),
                Hook("filter", "input", 0),
            ),
            names.WORKLOAD_TO_HOST: _workload_to_host(self.version, settings, rates),
            names.FROM_WORKLOAD: Chain(from_workload),
            names.EGRESS_ALLOWED: Chain(_tunnels(self.version, settings)),
        }

    def _forwarding(self) -> dict[str, Chain]:
        """Return the base chain of what is forwarded, and those that only it leads to."""
        settings, host = self.settings, self._host
        chains: dict[str, Chain] = {}
        to_workload = (
            *self._limiting(Direction.INGRESS, names.CONNECTIONS),
            Rule((VerdictMap((Field.OIF,), names.TO_WORKLOAD),)),
            *_unknown(settings, Direction.INGRESS),
        )
        enter = Rule((Verdict(VerdictKind.JUMP, names.FROM_WORKLOAD),))
        rules: tuple[Rule, ...] = (enter, *to_workload, *host.leaving)
        if host.forward:
            chains[names.WORKLOAD_FORWARD] = Chain(rules)
            chains[names.TO_WORKLOAD] = Chain(to_workload)
            workloads = of_workloads(settings, Field.IIFNAME, goto(names.WORKLOAD_FORWARD))
            rules = (*workloads, *host.forward)
        if settings.drop_invalid:
            invalid = (
                *of_workloads(settings, Field.IIFNAME, *_DROPPED, comment=_INVALID),
                *of_workloads(settings, Field.OIFNAME, *_DROPPED, comment=_INVALID),
                *(host.forward or host.leaving),
            )
            chains[names.INVALID] = Chain(invalid)
            rules = (Rule((CtStateIs(CtState.INVALID), goto(names.INVALID))), *rules)
        first = (
            *self._limiting(Direction.EGRESS, names.PACKET_RATES),
            *self._limiting(Direction.INGRESS, names.PACKET_RATES),
            *self._offload,
            Rule((_KNOWN, ACCEPT)),
        )
        chains[names.FILTER_FORWARD] = Chain((*first, *rules), Hook("filter", "forward", 0))
        return chains

    def _limiting(self, direction: Direction, kind: dict[Direction, str]) -> tuple[Rule, ...]:
        """Return the rules that apply one kind of limits, none where no endpoint has any."""
        if kind[direction] not in self._limits:
            return ()
        field = _NAME[direction]
        return (Rule((VerdictMap((field,), kind[direction]),)),)


def write_closed_layout(writer: TableWriter, settings: RenderSettings) -> None:
    """Write the table of an IP version that is switched off: workloads get nothing through."""
    for name, hook, field in (
        (names.RAW_PREROUTING, Hook("filter", "prerouting", -300), Field.IIFNAME),
        (names.FILTER_FORWARD, Hook("filter", "forward", 0), Field.OIFNAME),
    ):
        rules = of_workloads(settings, field, Counter(), DROP, comment="switched off")
        writer.put_chain(name, Chain(rules, hook))


def write_arp_layout(writer: TableWriter) -> None:
    """Write the ARP table: the host must not answer for a workload's own addresses.

    It answers for all others (proxy ARP); were it to answer for these, the workload's detection of
    duplicate addresses would fail.
    """
    writer.add_set(names.WORKLOAD_ADDRESSES, Set((KeyType.IFNAME, KeyType.IPV4)), {})
    fields = (Field.OIFNAME, Field.ARP_SADDR_IP)
    own = Rule(
        (
            Compare(Field.ARP_OPERATION, _ARP_REPLY),
            InSet(fields, names.WORKLOAD_ADDRESSES),
            DROP,
        ),
        "the workload's own address",
    )
    writer.put_chain(names.ARP_OUTPUT, Chain((own,), Hook("filter", "output", 0)))


def anti_spoofing(version: int, settings: RenderSettings, exceptions: tuple[Rule, ...]) -> Chain:
    """Return the chain that drops source addresses that are not the workload's own.

    *exceptions* admit those that particular endpoints may use.
    """
    source = _SOURCE[version]
    rules = [*metadata.requests(version, settings, source), *exceptions]
    if version == 6:
        # Neighbour discovery: link-local addresses, and none at all while one is being checked.
        rules.append(Rule((InNetwork(source, _LINK_LOCAL), RETURN)))
        rules.append(Rule((Compare(source, _UNSPECIFIED[6]), RETURN)))
    elif settings.openstack:
        asking = (Compare(source, _UNSPECIFIED[4]), *_udp_ports(*_DHCP_PORTS[4]))
        rules.append(Rule((*asking, RETURN), "DHCP"))
    rules.append(Rule((Counter(), DROP), "not the workload's source address"))
    return Chain(tuple(rules))


def _own_sources(version: int, settings: RenderSettings) -> Rule:
    """Return the rule that lets by what has its workload's own source address.

    Every packet comes here, so nothing is asked before it that need not be.
    """
    known = InSet((Field.IIF, _SOURCE[version]), names.WORKLOAD_SOURCES)
    return Rule((*metadata.elsewhere(version, settings), known, ACCEPT))


def _unknown(settings: RenderSettings, direction: Direction) -> tuple[Rule, ...]:
    """Return what drops packets of workload interfaces that no map of endpoints has."""
    whose = "from" if direction is Direction.EGRESS else "to"
    comment = f"{whose} an unknown workload interface"
    return of_workloads(settings, _NAME[direction], *_DROPPED, comment=comment)


def _tunnels(version: int, settings: RenderSettings) -> tuple[Rule, ...]:
    """Return the rules against tunnels of workloads; what few packets have is asked first."""
    rules = []
    if not settings.allow_vxlan_from_workloads:
        vxlan = (port_is(Field.TH_DPORT, settings.vxlan_port), protocol_is(_UDP))
        rules.append(Rule((*vxlan, Counter(), DROP), "VXLAN from a workload"))
    if not settings.allow_ipip_from_workloads:
        ipip = Compare(Field.IP_PROTOCOL, bytes((_IPIP,))) if version == 4 else protocol_is(_IPIP)
        rules.append(Rule((ipip, Counter(), DROP), "IPIP from a workload"))
    return tuple(rules)


def _workload_to_host(version: int, settings: RenderSettings, rates: tuple[Rule, ...]) -> Chain:
    """Return the chain of packets to the host itself (specification section 3.9).

    What the host offers to all workloads is not subject to *rates*.
    """
    known = Rule((_KNOWN, ACCEPT))
    rules = [] if rates else [known]
    if version == 6:
        rules += [
            Rule((protocol_is(_ICMPV6), Compare(Field.ICMPV6_TYPE, bytes((kind,))), ACCEPT))
            for kind in _ICMPV6_SERVICES
        ]
    if settings.openstack:
        if version == 4 and settings.metadata_address:
            service = (
                protocol_is(_TCP),
                Compare(Field.IP_DADDR, settings.metadata_address.packed),
                port_is(Field.TH_DPORT, settings.metadata_port),
            )
            rules.append(Rule((*service, ACCEPT), "metadata"))
        rules.append(Rule((*_udp_ports(*_DHCP_PORTS[version]), ACCEPT), "DHCP"))
        dns = (protocol_is(_UDP), port_is(Field.TH_DPORT, 53))
        rules.append(Rule((*dns, ACCEPT), "DNS"))
    if rates:
        rules += [*rates, known]
    if settings.drop_invalid:
        rules.append(Rule((CtStateIs(CtState.INVALID), *_DROPPED), _INVALID))
    rules.append(Rule((Verdict(VerdictKind.JUMP, names.FROM_WORKLOAD),)))
    rules.append(Rule((goto(names.ENDPOINT_TO_HOST),)))
    return Chain(tuple(rules))


def _endpoint_to_host(settings: RenderSettings) -> Chain:
    if settings.endpoint_to_host_action is HostAction.DROP:
        return Chain((Rule((Counter(), DROP), "workloads may not reach their host"),))
    return Chain((Rule((ACCEPT,)),))


def _udp_ports(source: int, destination: int) -> tuple[Expression, ...]:
    return (
        protocol_is(_UDP),
        port_is(Field.TH_SPORT, source),
        port_is(Field.TH_DPORT, destination),
    )
