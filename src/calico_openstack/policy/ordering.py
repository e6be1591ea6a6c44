"""The order of tiers and of policies within a tier (specification section 3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf
from typing import NamedTuple

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.policies import TierSpec
from calico_openstack.policy.rules import Action, TierPolicies


class Placement(NamedTuple):
    """Where a policy stands, and the directions that it applies to."""

    key: ResourceKey
    tier: str
    order: float | None
    ingress: bool
    egress: bool


def tier_order(name: str, tiers: Mapping[str, TierSpec]) -> tuple[bool, float, str]:
    """Return the sort key of a tier; *tiers* holds those that exist.

    Missing tiers come last: their policies are enforced nevertheless.
    """
    spec = tiers.get(name)
    return spec is None, _order(spec.order if spec else None), name


def policy_order(placement: Placement) -> tuple[float, bytes]:
    """Return the sort key of a policy within its tier."""
    key = placement.key
    return _order(placement.order), f"{key.name}/{key.namespace}/{key.kind}".encode()


def default_action(name: str, tiers: Mapping[str, TierSpec]) -> Action:
    """Return what a tier does with undecided packets. All but an existing tier's Pass is Deny."""
    spec = tiers.get(name)
    return Action.PASS if spec and spec.default_action == Action.PASS.value else Action.DENY


def arranged(
    placements: Iterable[Placement], tiers: Mapping[str, TierSpec]
) -> tuple[TierPolicies, ...]:
    """Return the policies of one endpoint as ordered tiers of ordered policies."""
    by_tier: dict[str, list[Placement]] = {}
    for placement in placements:
        by_tier.setdefault(placement.tier, []).append(placement)
    result = []
    for name in sorted(by_tier, key=lambda tier: tier_order(tier, tiers)):
        ordered = sorted(by_tier[name], key=policy_order)
        result.append(
            TierPolicies(
                name,
                default_action(name, tiers),
                ingress=tuple(p.key for p in ordered if p.ingress),
                egress=tuple(p.key for p in ordered if p.egress),
            )
        )
    return tuple(result)


def _order(order: float | None) -> float:
    return inf if order is None else order
