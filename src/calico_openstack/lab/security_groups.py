"""What Neutron's security groups want: which packets reach whom. Pure.

This is Neutron's own meaning, written from its API's objects alone, so that it can be compared
with what packets see: a packet passes when a rule of some group of its sender lets it out and a
rule of some group of its receiver lets it in. Whoever is outside of the cloud has no groups.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

PROTOCOL_NUMBERS = {
    "icmp": 1,
    "tcp": 6,
    "udp": 17,
    "icmpv6": 58,
    "ipv6-icmp": 58,
    "sctp": 132,
}
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
FAMILY = {"IPv4": 4, "IPv6": 6}


@dataclass(frozen=True)
class Rule:
    """A rule of a security group; None means any. Ports of ICMP rules are type and code."""

    direction: str
    family: int
    protocol: int | None = None
    port_min: int | None = None
    port_max: int | None = None
    remote_group: str | None = None
    remote_prefixes: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Party:
    """A sender or receiver. `groups` is None for one to whom no rules apply."""

    name: str
    addresses: tuple[str, ...]
    groups: frozenset[str] | None = None

    def address(self, family: int) -> str | None:
        """Its first address of a family."""
        for address in self.addresses:
            if ip_address(address).version == family:
                return address
        return None


@dataclass(frozen=True, order=True)
class Probe:
    """A kind of packet to try: `port` is 0 for an ICMP echo request."""

    protocol: int
    port: int = 0

    @property
    def title(self) -> str:
        """As it is shown: "icmp", "tcp/80"."""
        if self.protocol == ICMP:
            return "icmp"
        return f"{'tcp' if self.protocol == TCP else 'udp'}/{self.port}"


@dataclass(frozen=True)
class Groups:
    """All security groups: their rules, and the addresses of their members."""

    rules: Mapping[str, tuple[Rule, ...]]
    members: Mapping[str, frozenset[str]] = field(default_factory=dict)


def parse_rule(rule: Mapping[str, Any], address_groups: Mapping[str, tuple[str, ...]]) -> Rule:
    """A rule from the API's object, given the prefixes of the address groups."""
    family = FAMILY[rule["ethertype"]]
    protocol = protocol_number(rule["protocol"], family)
    prefixes: tuple[str, ...] | None = None
    if rule["remote_ip_prefix"]:
        prefixes = (rule["remote_ip_prefix"],)
    elif rule.get("remote_address_group_id"):
        prefixes = address_groups.get(rule["remote_address_group_id"], ())
    return Rule(
        direction=rule["direction"],
        family=family,
        protocol=protocol,
        port_min=rule["port_range_min"],
        port_max=rule["port_range_max"],
        remote_group=rule["remote_group_id"],
        remote_prefixes=prefixes,
    )


def protocol_number(name: str | None, family: int) -> int | None:
    """The protocol number that a rule means; None for any. ICMP means the family's own."""
    if name is None or name in {"any", "-1", "0"}:
        return None
    number = PROTOCOL_NUMBERS.get(name)
    if number is None:
        number = int(name)
    return ICMPV6 if family == 6 and number == ICMP else number


def is_wanted(probe: Probe, family: int, source: Party, target: Party, groups: Groups) -> bool:
    """Whether the rules let a packet of this kind from one party reach the other."""
    source_address, target_address = source.address(family), target.address(family)
    if source_address is None or target_address is None:
        return False
    return _passes("egress", probe, source.groups, target_address, groups) and _passes(
        "ingress", probe, target.groups, source_address, groups
    )


def _passes(
    direction: str, probe: Probe, own: frozenset[str] | None, remote: str, groups: Groups
) -> bool:
    if own is None:
        return True
    return any(
        rule.direction == direction and _matches(rule, probe, remote, groups)
        for group in own
        for rule in groups.rules.get(group, ())
    )


def _matches(rule: Rule, probe: Probe, remote: str, groups: Groups) -> bool:
    address = ip_address(remote)
    if address.version != rule.family:
        return False
    protocol = ICMPV6 if rule.family == 6 and probe.protocol == ICMP else probe.protocol
    if rule.protocol is not None and rule.protocol != protocol:
        return False
    if rule.protocol is not None and not _port_matches(rule, probe):
        return False
    if rule.remote_group is not None:
        return remote in groups.members.get(rule.remote_group, frozenset())
    if rule.remote_prefixes is not None:
        return any(address in ip_network(p, strict=False) for p in rule.remote_prefixes)
    return True


def _port_matches(rule: Rule, probe: Probe) -> bool:
    if rule.port_min is None:
        return True
    if probe.protocol == ICMP:
        # Type and code of an echo request: 8 and 0, and 128 and 0 for IPv6.
        echo = 128 if rule.family == 6 else 8
        return rule.port_min == echo and rule.port_max in {None, 0}
    return rule.port_min <= probe.port <= (rule.port_max or rule.port_min)


def probes(groups: Groups, used: Iterable[str]) -> tuple[Probe, ...]:
    """What to try between parties in the groups `used`.

    Echo requests, the first port of every TCP and UDP rule for incoming packets, and one TCP port
    that no rule names, so that a matrix always shows something that is denied.
    """
    rules = [
        rule
        for group in used
        for rule in groups.rules.get(group, ())
        if rule.direction == "ingress" and rule.port_min is not None
    ]
    named = {
        Probe(rule.protocol, rule.port_min)
        for rule in rules
        if rule.protocol in {TCP, UDP} and rule.port_min is not None
    }
    covered = [
        (rule.port_min or 0, rule.port_max or rule.port_min or 0)
        for rule in rules
        if rule.protocol == TCP
    ]
    free = next(
        (p for p in (22, 23, 8080, 9) if not any(low <= p <= high for low, high in covered)), None
    )
    extra = {Probe(TCP, free)} if free is not None else set()
    return (Probe(ICMP), *sorted(named | extra))
