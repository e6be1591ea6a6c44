"""Policy in the form in which it is evaluated and rendered: numbers and parsed selectors, no text.

`conversion` makes these from the stored resources; `evaluation` says what they mean for a packet.
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.policies import StagedGlobalNetworkPolicy, StagedNetworkPolicy
from calico_openstack.datamodel.ports import PortRange
from calico_openstack.datamodel.selector import Selector, named_port_uid
from calico_openstack.policy.addresses import Prefix
from calico_openstack.policy.packet import Direction


class Action(Enum):
    """What a rule, or the end of a tier, does with a packet that it matches."""

    ALLOW = "Allow"
    DENY = "Deny"
    PASS = "Pass"
    LOG = "Log"


class NamedPort(Struct, frozen=True):
    """All ports called *name* of the endpoints that *selector* matches.

    *protocol* is the number that such a port must have, None for whichever it has. *name* may be
    several with commas between.
    """

    selector: Selector
    protocol: int | None
    name: str

    @property
    def names(self) -> tuple[str, ...]:
        """The names that such a port may have."""
        return tuple(self.name.split(","))

    @property
    def uid(self) -> str:
        """The identifier of the set of these ports (specification section 2.5)."""
        return named_port_uid(self.selector.uid, _PORT_SET_PROTOCOLS[self.protocol], self.name)


_PORT_SET_PROTOCOLS = {None: "any", 6: "tcp", 17: "udp", 132: "sctp"}


class IcmpCriterion(Struct, frozen=True):
    """An ICMP type, and a code or any."""

    type: int
    code: int | None = None


class EntityCriteria(Struct, frozen=True):
    """What a rule asks of one end of a packet. Everything given must hold.

    ``nets`` None asks nothing; a tuple asks for an address in one of them, so an empty one is never
    met. ``ports`` and ``named_ports`` are alternatives of each other and ask nothing when both are
    empty. Every entry of ``not_nets``, ``not_ports`` and ``not_named_ports`` excludes.
    """

    nets: tuple[Prefix, ...] | None = None
    not_nets: tuple[Prefix, ...] = ()
    selector: Selector | None = None
    not_selector: Selector | None = None
    ports: tuple[PortRange, ...] = ()
    named_ports: tuple[NamedPort, ...] = ()
    not_ports: tuple[PortRange, ...] = ()
    not_named_ports: tuple[NamedPort, ...] = ()

    @property
    def selectors(self) -> tuple[Selector, ...]:
        """The selectors whose addresses must be known."""
        return tuple(s for s in (self.selector, self.not_selector) if s is not None)


ANY = EntityCriteria()


class PolicyRule(Struct, frozen=True):
    """One rule. *index* is its place in the stored list, *note* its annotations as text."""

    action: Action
    ip_version: int | None = None
    protocol: int | None = None
    not_protocol: int | None = None
    icmp: IcmpCriterion | None = None
    not_icmp: IcmpCriterion | None = None
    source: EntityCriteria = ANY
    destination: EntityCriteria = ANY
    index: int = 0
    note: str = ""


class RuleBlock(Struct, frozen=True):
    """The rules of one policy or profile. A direction that it does not apply to has none.

    *tier* is empty for profiles.
    """

    key: ResourceKey
    ingress: tuple[PolicyRule, ...] = ()
    egress: tuple[PolicyRule, ...] = ()
    tier: str = ""

    def rules(self, direction: Direction) -> tuple[PolicyRule, ...]:
        """Return the rules of a direction."""
        return self.ingress if direction is Direction.INGRESS else self.egress

    def selectors(self) -> dict[str, Selector]:
        """Return the selectors of all rules by their identifier."""
        return {
            selector.uid: selector
            for rule in (*self.ingress, *self.egress)
            for entity in (rule.source, rule.destination)
            for selector in entity.selectors
        }

    def named_ports(self) -> dict[str, NamedPort]:
        """Return the named ports of all rules by their identifier."""
        return {
            port.uid: port
            for rule in (*self.ingress, *self.egress)
            for entity in (rule.source, rule.destination)
            for port in (*entity.named_ports, *entity.not_named_ports)
        }


_STAGED_KINDS = frozenset({StagedNetworkPolicy.KIND, StagedGlobalNetworkPolicy.KIND})


def is_staged(policy: ResourceKey) -> bool:
    """Tell whether a policy is only tried out: it has a place in the order and decides nothing."""
    return policy.kind in _STAGED_KINDS


class TierPolicies(Struct, frozen=True):
    """The policies of one tier that apply to an endpoint, in order, for each direction.

    *default* is DENY or PASS: what becomes of a packet that none of them decides. A tier without
    enforced policies in a direction decides nothing there.
    """

    name: str
    default: Action
    ingress: tuple[ResourceKey, ...] = ()
    egress: tuple[ResourceKey, ...] = ()

    def policies(self, direction: Direction) -> tuple[ResourceKey, ...]:
        """Return the policies of a direction, staged ones among them."""
        return self.ingress if direction is Direction.INGRESS else self.egress

    def enforced(self, direction: Direction) -> tuple[ResourceKey, ...]:
        """Return the policies that decide in a direction."""
        return tuple(key for key in self.policies(direction) if not is_staged(key))


Tiers = tuple[TierPolicies, ...]


class EndpointPolicy(Struct, frozen=True):
    """All that decides about an endpoint's packets: its tiers, then its profiles, in order.

    Endpoints with the same labels and profiles share one. Neither tiers nor profiles: closed.
    """

    tiers: Tiers = ()
    profiles: tuple[ResourceKey, ...] = ()

    def blocks(self) -> dict[ResourceKey, None]:
        """Return every policy and profile that it refers to, once each."""
        return {**_policies(self.tiers), **dict.fromkeys(self.profiles)}


class HostEndpointPolicy(Struct, frozen=True):
    """All that decides about the packets of a host's own interface (specification section 3.3).

    ``normal`` is for what the host itself receives and sends, ``forward`` for what it forwards.
    ``untracked`` comes before connection tracking, ``pre_dnat`` before destinations are translated.
    What the last three do not decide goes on its way.
    """

    normal: EndpointPolicy = EndpointPolicy()
    forward: Tiers = ()
    untracked: Tiers = ()
    pre_dnat: Tiers = ()

    def blocks(self) -> dict[ResourceKey, None]:
        """Return every policy and profile that it refers to, once each."""
        others = (*self.forward, *self.untracked, *self.pre_dnat)
        return {**self.normal.blocks(), **_policies(others)}


def _policies(tiers: Tiers) -> dict[ResourceKey, None]:
    return dict.fromkeys(key for tier in tiers for key in (*tier.ingress, *tier.egress))


DENY_ALL = (PolicyRule(Action.DENY),)
"""The rules of what is missing or invalid."""
