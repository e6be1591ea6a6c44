"""Whether a change of policy may have taken a permission away.

The answers may err on the side of yes: a flow that is judged again and found allowed costs only
the judgement.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.felix.calc.ipsets import SetChange
from calico_openstack.policy.packet import Direction
from calico_openstack.policy.rules import (
    Action,
    EndpointPolicy,
    EntityCriteria,
    PolicyRule,
    RuleBlock,
    is_staged,
)

_GRANTING = frozenset({Action.ALLOW, Action.LOG})


def grants_only(block: RuleBlock) -> bool:
    """Tell whether no rule of a policy can take anything away."""
    return is_staged(block.key) or all(
        rule.action in _GRANTING for rule in (*block.ingress, *block.egress)
    )


def block_withdraws(old: RuleBlock, new: RuleBlock) -> bool:
    """Tell whether changed rules may refuse what they allowed before."""
    if is_staged(new.key):
        return False
    if not (grants_only(old) and grants_only(new)):
        return True
    return any(_grants(old.rules(d)) - _grants(new.rules(d)) for d in Direction)


def _grants(rules: tuple[PolicyRule, ...]) -> set[PolicyRule]:
    return {replace(rule, index=0, note="") for rule in rules if rule.action is Action.ALLOW}


def policy_withdraws(
    old: EndpointPolicy, new: EndpointPolicy, grants_only: Callable[[ResourceKey], bool]
) -> bool:
    """Tell whether an endpoint's changed policy may refuse what it allowed before.

    Only the addition of policies whose rules all grant (*grants_only*), to a tier that had
    policies before, is known to be harmless.
    """
    if old.profiles != new.profiles or len(old.tiers) != len(new.tiers):
        return True
    for before, after in zip(old.tiers, new.tiers, strict=True):
        if (before.name, before.default) != (after.name, after.default):
            return True
        for direction in Direction:
            was, now = before.enforced(direction), after.enforced(direction)
            if bool(was) != bool(now):
                return True
            added = set(now) - set(was)
            if tuple(key for key in now if key not in added) != was:
                return True
            if not all(map(grants_only, added)):
                return True
    return False


def set_withdraws(block: RuleBlock, uid: str, change: SetChange) -> bool:
    """Tell whether changed members of a set may make a policy refuse what it allowed before."""
    if is_staged(block.key):
        return False
    came = bool(change.added or change.added_ranges)
    left = bool(change.removed or change.removed_ranges)
    for rule in (*block.ingress, *block.egress):
        allows_more = rule.action is Action.ALLOW and not left
        for entity in (rule.source, rule.destination):
            # The usual change, settled at once: a member came, and is not excluded by name.
            if allows_more and entity.not_selector is None and not entity.not_named_ports:
                continue
            included, excluded = _uses(entity, uid)
            widens = (came and included) or (left and excluded)
            narrows = (left and included) or (came and excluded)
            if rule.action is Action.ALLOW and narrows:
                return True
            if rule.action is Action.DENY and widens:
                return True
            if rule.action is Action.PASS and (widens or narrows):
                return True
    return False


def _uses(entity: EntityCriteria, uid: str) -> tuple[bool, bool]:
    """Tell whether a set's members are asked for, and whether they are excluded."""
    selector, excluded = entity.selector, entity.not_selector
    return (
        (selector is not None and selector.uid == uid)
        or any(port.uid == uid for port in entity.named_ports),
        (excluded is not None and excluded.uid == uid)
        or any(port.uid == uid for port in entity.not_named_ports),
    )
