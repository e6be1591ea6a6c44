"""From stored policies, profiles and rules to the form that is evaluated (specification 1.5).

The composed selector texts are those of upstream, so that identifiers of sets agree.

What cannot be evaluated fails closed: an invalid policy denies the endpoints that it selects, an
invalid or missing profile denies the endpoints that list it. Stored objects pass validation before
they come here, so no rule has a field that is not understood.
"""

from __future__ import annotations

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.policies import (
    DEFAULT_TIER,
    GlobalNetworkPolicy,
    NetworkPolicy,
    Profile,
    StagedGlobalNetworkPolicy,
    StagedNetworkPolicy,
)
from calico_openstack.datamodel.ports import PortRange, parse_port
from calico_openstack.datamodel.protocols import ICMP, ICMPV6, PORT_PROTOCOLS, protocol_number
from calico_openstack.datamodel.rules import ANY_ENTITY, EntityRule, IcmpMatch, Rule
from calico_openstack.datamodel.selector import (
    NAMESPACE_PREFIX,
    SERVICE_ACCOUNT_PREFIX,
    Selector,
    SelectorError,
    parse,
)
from calico_openstack.policy.addresses import pack_prefix
from calico_openstack.policy.ordering import Placement
from calico_openstack.policy.rules import (
    ANY,
    DENY_ALL,
    Action,
    EntityCriteria,
    IcmpCriterion,
    NamedPort,
    PolicyRule,
    RuleBlock,
)

NAMESPACE_LABEL = "projectcalico.org/namespace"
SERVICE_ACCOUNT_LABEL = "projectcalico.org/serviceaccount"
INHERITED_PREFIXES = (NAMESPACE_PREFIX, SERVICE_ACCOUNT_PREFIX)
"""Labels that come from profiles alone: an object's own of this kind do not count."""

Policy = NetworkPolicy | GlobalNetworkPolicy


_MAX_NAMED_PORTS = 4
_DIRECTIONS = frozenset({"Ingress", "Egress"})
_NEEDED_EVERYWHERE = "AssumeNeededOnEveryNode"
# A staged policy with one of these stands for no rules of its own.
_WITHOUT_RULES = frozenset({"Delete", "Ignore"})


def counts(policy: Policy) -> bool:
    """Tell whether a policy has a place in the order at all."""
    if isinstance(policy, StagedNetworkPolicy | StagedGlobalNetworkPolicy):
        return policy.spec.staged_action not in _WITHOUT_RULES
    return True


def is_needed_everywhere(policy: Policy) -> bool:
    """Tell whether a policy's rules are to be ready on hosts without endpoints that it selects."""
    return _NEEDED_EVERYWHERE in policy.spec.performance_hints


def placement(key: ResourceKey, policy: Policy) -> Placement:
    """Return where a policy stands. No types, or any that is not known, mean both directions."""
    spec = policy.spec
    ingress, egress = "Ingress" in spec.types, "Egress" in spec.types
    both = not spec.types or not _DIRECTIONS.issuperset(spec.types)
    place = Placement(key, spec.tier or DEFAULT_TIER, spec.order, ingress or both, egress or both)
    if isinstance(policy, NetworkPolicy):
        return place
    return place._replace(
        untracked=policy.spec.do_not_track,
        pre_dnat=policy.spec.pre_dnat,
        forward=policy.spec.apply_on_forward,
    )


def endpoint_selector(key: ResourceKey, policy: Policy) -> Selector:
    """Return which endpoints a policy applies to. Raises SelectorError."""
    spec = policy.spec
    text = _written(spec.selector)
    if isinstance(policy, NetworkPolicy):
        text = _joined(text, _namespace_clause(key.namespace))
    if spec.service_account_selector:
        prefixed = _prefixed(spec.service_account_selector, SERVICE_ACCOUNT_PREFIX)
        text = _joined(text, prefixed).replace("all()", f"has({SERVICE_ACCOUNT_LABEL})")
    if isinstance(policy, GlobalNetworkPolicy) and policy.spec.namespace_selector:
        prefixed = _prefixed(policy.spec.namespace_selector, NAMESPACE_PREFIX)
        text = _joined(text, prefixed).replace("all()", f"has({NAMESPACE_LABEL})")
    return parse(text)


def policy_block(key: ResourceKey, policy: Policy) -> RuleBlock:
    """Return the rules of a valid policy; none in a direction that it does not apply to."""
    place = placement(key, policy)
    return RuleBlock(
        key,
        ingress=rules(policy.spec.ingress, key.namespace) if place.ingress else (),
        egress=rules(policy.spec.egress, key.namespace) if place.egress else (),
        tier=place.tier,
    )


def profile_block(key: ResourceKey, profile: Profile | None) -> RuleBlock:
    """Return the rules of a profile; those of one that is missing or invalid deny."""
    if profile is None:
        return denial(key)
    return RuleBlock(key, rules(profile.spec.ingress, ""), rules(profile.spec.egress, ""))


def denial(key: ResourceKey, policy: Policy | None = None) -> RuleBlock:
    """Return the stand-in for what is missing or invalid: it denies.

    That of an invalid *policy* denies in the policy's directions, others both ways.
    """
    place = placement(key, policy) if policy else None
    return RuleBlock(
        key,
        ingress=DENY_ALL if place is None or place.ingress else (),
        egress=DENY_ALL if place is None or place.egress else (),
        tier=place.tier if place else "",
    )


def rules(stored: tuple[Rule, ...], namespace: str) -> tuple[PolicyRule, ...]:
    """Return rules in evaluated form; *namespace* is that of a namespaced policy, else empty."""
    return tuple(_rule(rule, index, namespace) for index, rule in enumerate(stored))


def _rule(rule: Rule, index: int, namespace: str) -> PolicyRule:
    protocol = None if rule.protocol is None else protocol_number(rule.protocol)
    not_protocol = None if rule.not_protocol is None else protocol_number(rule.not_protocol)
    annotations = rule.metadata.annotations if rule.metadata else {}
    return PolicyRule(
        action=Action(rule.action or "Allow"),
        # ICMP exists in one family each; to ask for it is to ask for the family.
        ip_version=rule.ip_version or {ICMP: 4, ICMPV6: 6}.get(protocol or 0),
        protocol=protocol,
        not_protocol=not_protocol,
        icmp=_icmp(rule.icmp),
        not_icmp=_icmp(rule.not_icmp),
        source=_entity(rule.source, protocol, namespace),
        destination=_entity(rule.destination, protocol, namespace),
        index=index,
        note=" ".join(f"{key}={value}" for key, value in annotations.items()),
    )


def _icmp(match: IcmpMatch | None) -> IcmpCriterion | None:
    if match is None or match.type is None:
        return None
    return IcmpCriterion(match.type, match.code)


def _entity(entity: EntityRule, protocol: int | None, namespace: str) -> EntityCriteria:
    if entity is ANY_ENTITY:
        return ANY
    selector, not_selector = _entity_selectors(entity, namespace)
    ports, names = _ports(entity.ports)
    not_ports, not_names = _ports(entity.not_ports)
    whose = selector or parse("all()")
    # Endpoints have ports of three protocols; whatever else a rule names counts as TCP.
    kind = protocol if protocol is None or protocol in PORT_PROTOCOLS else 6
    return EntityCriteria(
        nets=tuple(map(pack_prefix, entity.nets)) if entity.nets else None,
        not_nets=tuple(map(pack_prefix, entity.not_nets)),
        # With named ports alone the selector lives in their set: the very endpoint that has the
        # address must match, and a network set never does (specification section 3.7).
        selector=None if names and not ports else selector,
        not_selector=not_selector,
        ports=ports,
        named_ports=tuple(NamedPort(whose, kind, name) for name in _few(names)),
        not_ports=not_ports,
        not_named_ports=tuple(NamedPort(whose, kind, name) for name in _few(not_names)),
    )


def _ports(stored: tuple[int | str, ...]) -> tuple[tuple[PortRange, ...], tuple[str, ...]]:
    """Return the numeric entries and the names."""
    entries = [parse_port(entry) for entry in stored]
    return (
        tuple(entry for entry in entries if isinstance(entry, PortRange)),
        tuple(entry for entry in entries if isinstance(entry, str)),
    )


def _few(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return names of ports, so many together that each rule looks into few sets.

    Up to four keep the sets, and their identifiers, that they have upstream.
    """
    return names if len(names) <= _MAX_NAMED_PORTS else (",".join(sorted(set(names))),)


def _entity_selectors(
    entity: EntityRule, namespace: str
) -> tuple[Selector | None, Selector | None]:
    """Return what must and what must not match; both collapse to one that must."""
    accounts = entity.service_accounts
    chosen = bool(entity.selector or entity.not_selector or entity.namespace_selector or accounts)
    if not chosen:
        return None, None
    clause = ""
    if entity.namespace_selector:
        clause = _prefixed(entity.namespace_selector, NAMESPACE_PREFIX)
        clause = clause.replace("all()", f"has({NAMESPACE_LABEL})")
        clause = clause.replace("global()", f"!has({NAMESPACE_LABEL})")
    elif namespace:
        clause = _namespace_clause(namespace)
    text = _written(entity.selector)
    if accounts is not None:
        if accounts.selector:
            prefixed = _prefixed(accounts.selector, SERVICE_ACCOUNT_PREFIX)
            text = _joined(text, prefixed).replace("all()", f"has({SERVICE_ACCOUNT_LABEL})")
        if accounts.names:
            listed = ", ".join(f"'{name}'" for name in accounts.names)
            text = _joined(text, f"{SERVICE_ACCOUNT_LABEL} in {{{listed}}}")
    positive = f"({clause}) && ({text})" if clause and text else clause or text
    negative = _written(entity.not_selector)
    if positive and negative:
        return parse(f"({positive}) && (!({negative}))"), None
    return (parse(positive) if positive else None), (parse(negative) if negative else None)


def _written(text: str) -> str:
    """Return a selector as it can stand in parentheses: blanks alone mean ``all()``."""
    return text if not text or text.strip(" \t") else "all()"


def _namespace_clause(namespace: str) -> str:
    # A key may hold anything; no valid namespace has quotes, and no other one may choose endpoints.
    if "'" in namespace:
        raise SelectorError("the namespace has quotes")
    return f"{NAMESPACE_LABEL} == '{namespace}'"


def _joined(text: str, clause: str) -> str:
    return f"({text}) && {clause}" if text else clause


def _prefixed(text: str, prefix: str) -> str:
    return parse(text).with_label_prefix(prefix).canonical
