"""What a policy decides about a packet, and why (specification sections 3.4 and 3.6).

Shares the model in `rules` with the code that generates kernel rules, and nothing else: each is
tested against the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct, field

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.ports import PortRange
from calico_openstack.datamodel.selector import Selector
from calico_openstack.policy.packet import Direction, Packet
from calico_openstack.policy.rules import (
    Action,
    EndpointPolicy,
    EntityCriteria,
    IcmpCriterion,
    NamedPort,
    PolicyRule,
    RuleBlock,
    Tiers,
    is_staged,
)


class Members(Protocol):
    """Knows which addresses selectors stand for."""

    def selects(self, selector: Selector, address: bytes) -> bool:
        """Tell whether an endpoint or network set that *selector* matches has *address*."""
        ...

    def selects_port(self, named: NamedPort, address: bytes, protocol: int, port: int) -> bool:
        """Tell whether an endpoint of *named* has *address* and that port under its name."""
        ...


class Reason(Struct, frozen=True):
    """One step of the way to a verdict.

    *tier* is empty for profiles and for the very end. *block* is the policy or profile and *rule*
    the index of the rule in its stored list; both are None where a default decided. *action* is
    what the step did, or would have done in a staged policy; None: nothing matched and evaluation
    went on.
    """

    tier: str
    block: ResourceKey | None
    rule: int | None
    action: Action | None


class Verdict(Struct, frozen=True):
    """The decision about a packet in one direction of one endpoint, with every step to it."""

    allowed: bool
    reasons: tuple[Reason, ...]


class EndpointVerdict(Struct, frozen=True):
    """What one endpoint decides about a packet in one direction."""

    endpoint: ResourceKey
    direction: Direction
    verdict: Verdict


class Judgement(Struct, frozen=True):
    """What all endpoints at the two ends of a packet decide: it passes if all of them allow it.

    So does a packet that has no known endpoint at either end: policy has no say about it.
    """

    verdicts: tuple[EndpointVerdict, ...]

    @property
    def allowed(self) -> bool:
        """Whether nobody refuses the packet."""
        return all(each.verdict.allowed for each in self.verdicts)


def evaluate(
    policy: EndpointPolicy,
    blocks: Mapping[ResourceKey, RuleBlock],
    direction: Direction,
    packet: Packet,
    members: Members,
) -> Verdict:
    """Return what *policy* decides about *packet*.

    *blocks* holds every policy and profile that *policy* names.
    """
    walk = _Walk(blocks, direction, packet, members)
    action = walk.through_tiers(policy.tiers)
    if action is None:
        for key in policy.profiles:
            action = walk.through("", (key,))
            if action in (Action.ALLOW, Action.DENY):
                break
        else:
            action = Action.DENY
            walk.reasons.append(Reason("", None, None, action))
    return Verdict(action is Action.ALLOW, tuple(walk.reasons))


def evaluate_tiers(
    tiers: Tiers,
    blocks: Mapping[ResourceKey, RuleBlock],
    direction: Direction,
    packet: Packet,
    members: Members,
) -> tuple[Action | None, tuple[Reason, ...]]:
    """Return what *tiers* alone decide, ALLOW or DENY, with every step; None: nothing."""
    walk = _Walk(blocks, direction, packet, members)
    return walk.through_tiers(tiers), tuple(walk.reasons)


class _Walk(Struct):
    """One packet on its way through policies, in one direction."""

    blocks: Mapping[ResourceKey, RuleBlock]
    direction: Direction
    packet: Packet
    members: Members
    reasons: list[Reason] = field(default_factory=list)

    def through_tiers(self, tiers: Tiers) -> Action | None:
        """Return ALLOW or DENY, None if all tiers leave the packet undecided."""
        for tier in tiers:
            action = self.through(tier.name, tier.policies(self.direction))
            if action is None and tier.enforced(self.direction):
                action = tier.default
                self.reasons.append(Reason(tier.name, None, None, action))
            if action in (Action.ALLOW, Action.DENY):
                return action
        return None

    def through(self, tier: str, keys: tuple[ResourceKey, ...]) -> Action | None:
        """Return the first deciding action (Allow, Deny or Pass) of *keys*' rules, or None."""
        for key in keys:
            action = self._first_decision(tier, key)
            if action is None:
                self.reasons.append(Reason(tier, key, None, None))
            elif not is_staged(key):
                return action
        return None

    def _first_decision(self, tier: str, key: ResourceKey) -> Action | None:
        """Return what the first deciding rule of one policy or profile that matches says."""
        for rule in self.blocks[key].rules(self.direction):
            if matches(rule, self.packet, self.members):
                self.reasons.append(Reason(tier, key, rule.index, rule.action))
                if rule.action is not Action.LOG:
                    return rule.action
        return None


def matches(rule: PolicyRule, packet: Packet, members: Members) -> bool:
    """Tell whether every criterion of *rule* holds for *packet*."""
    return (
        rule.ip_version in (None, packet.ip_version)
        and rule.protocol in (None, packet.protocol)
        and (rule.not_protocol is None or rule.not_protocol != packet.protocol)
        and (rule.icmp is None or _icmp_matches(rule.icmp, packet))
        and not (rule.not_icmp is not None and _icmp_matches(rule.not_icmp, packet))
        and _entity_matches(rule.source, packet, packet.source, packet.source_port, members)
        and _entity_matches(
            rule.destination, packet, packet.destination, packet.destination_port, members
        )
    )


def _icmp_matches(criterion: IcmpCriterion, packet: Packet) -> bool:
    """Compare type and code. The negation of both is "not (type and code)"."""
    return packet.icmp_type == criterion.type and criterion.code in (None, packet.icmp_code)


def _entity_matches(
    entity: EntityCriteria, packet: Packet, address: bytes, port: int | None, members: Members
) -> bool:
    if entity.nets is not None and not any(net.covers(address) for net in entity.nets):
        return False
    if any(net.covers(address) for net in entity.not_nets):
        return False
    if entity.selector is not None and not members.selects(entity.selector, address):
        return False
    if entity.not_selector is not None and members.selects(entity.not_selector, address):
        return False

    def named(candidates: tuple[NamedPort, ...]) -> bool:
        return port is not None and any(
            members.selects_port(candidate, address, packet.protocol, port)
            for candidate in candidates
        )

    wanted = not (entity.ports or entity.named_ports)
    if not wanted and not (_in_ranges(port, entity.ports) or named(entity.named_ports)):
        return False
    return not (_in_ranges(port, entity.not_ports) or named(entity.not_named_ports))


def _in_ranges(port: int | None, ranges: tuple[PortRange, ...]) -> bool:
    return port is not None and any(low <= port <= high for low, high in ranges)
