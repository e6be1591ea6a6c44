"""The order of tiers and of policies within a tier (specification section 3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum, auto
from math import inf
from typing import NamedTuple

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.policies import TierSpec
from calico_openstack.policy.rules import (
    Action,
    EndpointPolicy,
    HostEndpointPolicy,
    TierPolicies,
    Tiers,
)


class Part(Enum):
    """One of the lists of an endpoint's policies (specification section 3.3)."""

    NORMAL = auto()
    FORWARD = auto()
    UNTRACKED = auto()
    PRE_DNAT = auto()


class Placement(NamedTuple):
    """Where a policy stands, the directions that it applies to, and what is special about it."""

    key: ResourceKey
    tier: str
    order: float | None
    ingress: bool
    egress: bool
    untracked: bool = False
    pre_dnat: bool = False
    forward: bool = False

    def belongs_to(self, part: Part) -> bool:
        """Tell whether the policy stands in a list."""
        match part:
            case Part.UNTRACKED:
                return self.untracked
            case Part.PRE_DNAT:
                return self.pre_dnat
            case Part.FORWARD:
                return self.forward and not (self.untracked or self.pre_dnat)
            case Part.NORMAL:
                return not (self.untracked or self.pre_dnat)


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


def endpoint_policy(
    placements: Iterable[Placement],
    tiers: Mapping[str, TierSpec],
    profiles: tuple[ResourceKey, ...],
) -> EndpointPolicy:
    """Return what applies to a workload endpoint that *placements* match."""
    return EndpointPolicy(arranged(placements, tiers), profiles)


def host_endpoint_policy(
    placements: Iterable[Placement],
    tiers: Mapping[str, TierSpec],
    profiles: tuple[ResourceKey, ...],
) -> HostEndpointPolicy:
    """Return what applies to a host endpoint that *placements* match."""
    found = tuple(placements)
    return HostEndpointPolicy(
        normal=EndpointPolicy(arranged(found, tiers), profiles),
        forward=arranged(found, tiers, Part.FORWARD),
        untracked=arranged(found, tiers, Part.UNTRACKED),
        pre_dnat=arranged(found, tiers, Part.PRE_DNAT),
    )


def arranged(
    placements: Iterable[Placement], tiers: Mapping[str, TierSpec], part: Part = Part.NORMAL
) -> Tiers:
    """Return one list of an endpoint's policies as ordered tiers of ordered policies."""
    by_tier: dict[str, list[Placement]] = {}
    for placement in placements:
        if placement.belongs_to(part):
            by_tier.setdefault(placement.tier, []).append(placement)
    passes = part in (Part.UNTRACKED, Part.PRE_DNAT)
    result = []
    for name in sorted(by_tier, key=lambda tier: tier_order(tier, tiers)):
        ordered = sorted(by_tier[name], key=policy_order)
        result.append(
            TierPolicies(
                name,
                Action.PASS if passes else default_action(name, tiers),
                ingress=tuple(p.key for p in ordered if p.ingress),
                egress=tuple(p.key for p in ordered if p.egress and part is not Part.PRE_DNAT),
            )
        )
    return tuple(result)


def _order(order: float | None) -> float:
    return inf if order is None else order
