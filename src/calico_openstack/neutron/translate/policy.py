"""A security group becomes a network policy.

A policy is judged as a whole by its readers: one rule with a value that they refuse takes all
other rules with it. Hence a rule that has no exact counterpart is left out, which denies what
it would have allowed, and is reported; it never becomes a wider rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from calico_openstack.datamodel.addresses import parse_network
from calico_openstack.datamodel.openstack import GROUP_POLICY
from calico_openstack.datamodel.policies import NetworkPolicy, NetworkPolicySpec
from calico_openstack.datamodel.protocols import PORT_PROTOCOLS
from calico_openstack.datamodel.resource import Metadata
from calico_openstack.datamodel.rules import ANY_ENTITY, EntityRule, IcmpMatch, Rule
from calico_openstack.neutron.translate import protocol
from calico_openstack.neutron.translate.facts import GroupFacts, Problem, RuleFacts
from calico_openstack.neutron.translate.labels import group_selector
from calico_openstack.neutron.translate.logs import accept_rules

_VERSIONS = {"IPv4": 4, "IPv6": 6}
_ICMP_NAMES = {protocol.ICMP: "ICMP", protocol.ICMPV6: "ICMPv6"}
_ICMP_VERSIONS = {protocol.ICMP: 4, protocol.ICMPV6: 6}
_MAX_ICMP_TYPE = 254
_MAX_ICMP_CODE = 255
_MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class TranslatedGroup:
    """A group's policy, and what could not be honoured."""

    policy: NetworkPolicy
    problems: tuple[Problem, ...] = ()


class _UntranslatableError(Exception):
    """Raised within this module: the rule's field, and why it has no counterpart."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason


def policy_name(policy_id: str) -> str:
    """Return the name of a policy: that of a security group has the group's id."""
    return GROUP_POLICY + policy_id


def translate_group(group: GroupFacts, namespace: str) -> TranslatedGroup:
    """Translate a security group with its rules, in the order of their ids."""
    rules: dict[str, list[Rule]] = {"ingress": [], "egress": []}
    problems = []
    for facts in sorted(group.rules, key=lambda rule: rule.id):
        try:
            rule = _rule(facts, group)
        except _UntranslatableError as error:
            problems.append(Problem(f"rule {facts.id}", error.field, error.reason))
            continue
        if rule is not None:
            direction = "ingress" if facts.direction == "ingress" else "egress"
            rules[direction] += [*accept_rules(rule, facts.id, direction, group.logs), rule]
    if not group.stateful:
        reason = "replies are always allowed: connections are tracked for every group"
        problems.append(Problem(f"security group {group.id}", "stateful", reason))
    policy = NetworkPolicy(
        metadata=Metadata(name=policy_name(group.id), namespace=namespace),
        spec=NetworkPolicySpec(
            ingress=tuple(rules["ingress"]),
            egress=tuple(rules["egress"]),
            selector=group_selector(group.id),
        ),
    )
    return TranslatedGroup(policy, tuple(problems))


def refusals(rules: Iterable[RuleFacts]) -> list[Problem]:
    """Return why rules are left out, by what they match; of whom they are about nothing is said."""
    problems = []
    for facts in sorted(rules, key=lambda rule: rule.id):
        try:
            _match(facts)
        except _UntranslatableError as error:
            problems.append(Problem(f"rule {facts.id}", error.field, error.reason))
    return problems


@dataclass(frozen=True, slots=True)
class _Match:
    version: int
    number: int | None
    ports: tuple[int | str, ...]
    icmp: IcmpMatch | None


def _match(facts: RuleFacts) -> _Match:
    """Translate what a rule says of packets, but for whom they come from or go to."""
    version = _VERSIONS.get(facts.ethertype)
    if version is None:
        raise _UntranslatableError("ethertype", f"{facts.ethertype!r} is neither IPv4 nor IPv6")
    number = _protocol_number(facts, version)
    if number in _ICMP_NAMES:
        return _Match(version, number, (), _icmp(facts))
    return _Match(version, number, _ports(facts, number), None)


def _rule(facts: RuleFacts, group: GroupFacts) -> Rule | None:
    """Translate one rule; None for a rule that can match nothing."""
    match = _match(facts)
    number, ports = match.number, match.ports
    remote = _remote(facts, group, match.version)
    if remote is None:
        return None
    if facts.direction == "ingress":
        source = remote
        destination = EntityRule(ports=ports) if ports else ANY_ENTITY
    else:
        source = ANY_ENTITY
        destination = EntityRule(nets=remote.nets, selector=remote.selector, ports=ports)
    return Rule(
        action="Allow",
        ip_version=match.version,
        protocol=None if number is None else _ICMP_NAMES.get(number, number),
        icmp=match.icmp,
        source=source,
        destination=destination,
    )


def _protocol_number(facts: RuleFacts, version: int) -> int | None:
    """Return the number of a rule's protocol, None where it is for every protocol."""
    if facts.protocol is None or protocol.is_any(facts.protocol):
        return None
    number = protocol.number(facts.protocol, facts.ethertype)
    if number is None:
        raise _UntranslatableError("protocol", f"{facts.protocol!r} is unknown")
    if number == 0:
        raise _UntranslatableError(
            "protocol", f"policies cannot name protocol 0 ({facts.protocol})"
        )
    if _ICMP_VERSIONS.get(number, version) != version:
        raise _UntranslatableError(
            "protocol", f"{facts.protocol!r} does not exist in {facts.ethertype}"
        )
    return number


def _icmp(facts: RuleFacts) -> IcmpMatch | None:
    """Return the ICMP type and code; Neutron keeps them where other protocols have ports."""
    kind, code = _unless_any(facts.port_min), _unless_any(facts.port_max)
    if kind is None:
        if code is not None:
            raise _UntranslatableError("port_range_max", "an ICMP code needs a type")
        return None
    if not 0 <= kind <= _MAX_ICMP_TYPE:
        raise _UntranslatableError("port_range_min", f"policies cannot name ICMP type {kind}")
    if code is not None and not 0 <= code <= _MAX_ICMP_CODE:
        raise _UntranslatableError("port_range_max", f"{code} is no ICMP code")
    return IcmpMatch(type=kind, code=code)


def _ports(facts: RuleFacts, number: int | None) -> tuple[int | str, ...]:
    first, last = _unless_any(facts.port_min), _unless_any(facts.port_max)
    if first is None and last is None:
        return ()
    if number not in PORT_PROTOCOLS:
        name = facts.protocol or "any protocol"
        raise _UntranslatableError("port_range_min", f"ports of {name} are not supported")
    if first is None or last is None or not 1 <= first <= last <= _MAX_PORT:
        raise _UntranslatableError("port_range_min", f"{first} to {last} is no range of ports")
    return (first if first == last else f"{first}:{last}",)


def _unless_any(value: int | None) -> int | None:
    return None if value == -1 else value


def _remote(facts: RuleFacts, group: GroupFacts, version: int) -> EntityRule | None:
    """Return whom a rule is about; None for an address group without such addresses.

    Neutron keeps the bits beyond a prefix that a user gave; readers refuse them.
    """
    if facts.address_group_id is not None:
        return _address_group(facts, group, version)
    nets: tuple[str, ...] = ()
    if facts.remote_prefix is not None:
        network = parse_network(facts.remote_prefix)
        if network is None or network.version != version:
            reason = f"{facts.remote_prefix!r} is no prefix of {facts.ethertype}"
            raise _UntranslatableError("remote_ip_prefix", reason)
        nets = (str(network),)
    selector = "" if facts.remote_group_id is None else group_selector(facts.remote_group_id)
    return EntityRule(nets=nets, selector=selector)


def _address_group(facts: RuleFacts, group: GroupFacts, version: int) -> EntityRule | None:
    if facts.remote_group_id is not None or facts.remote_prefix is not None:
        raise _UntranslatableError("remote_address_group_id", "a rule has only one remote")
    addresses = group.address_groups.get(str(facts.address_group_id))
    if addresses is None:
        reason = f"address group {facts.address_group_id} is unknown"
        raise _UntranslatableError("remote_address_group_id", reason)
    networks = (parse_network(address) for address in addresses)
    nets = tuple(
        sorted({str(net) for net in networks if net is not None and net.version == version})
    )
    # Without addresses the group means nobody, whereas a rule without nets means everybody.
    return EntityRule(nets=nets) if nets else None
