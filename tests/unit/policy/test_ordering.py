from __future__ import annotations

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.policies import TierSpec
from calico_openstack.policy.ordering import Placement, arranged
from calico_openstack.policy.rules import Action


def place(
    name: str, tier: str = "default", order: float | None = None, types: str = "ie"
) -> Placement:
    key = ResourceKey("GlobalNetworkPolicy", name)
    return Placement(key, tier, order, "i" in types, "e" in types)


def names(keys: tuple[ResourceKey, ...]) -> list[str]:
    return [key.name for key in keys]


def test_tiers_by_existence_order_and_name() -> None:
    tiers = {"z": TierSpec(order=1), "b": TierSpec(), "a": TierSpec(), "m": TierSpec(order=2.5)}
    found = arranged([place("p", tier) for tier in ("0-missing", "a", "b", "m", "z")], tiers)
    assert [tier.name for tier in found] == ["z", "m", "a", "b", "0-missing"]


def test_policies_by_order_then_bytes_of_the_name() -> None:
    found = arranged(
        [place("b"), place("a"), place("last", order=1e9), place("first", order=-1), place("B")], {}
    )
    assert names(found[0].ingress) == ["first", "last", "B", "a", "b"]


def test_same_name_by_namespace_then_kind() -> None:
    keys = [
        ResourceKey("NetworkPolicy", "p", "b"),
        ResourceKey("NetworkPolicy", "p", "a"),
        ResourceKey("GlobalNetworkPolicy", "p"),
    ]
    found = arranged([Placement(key, "default", None, True, True) for key in keys], {})
    # "p//GlobalNetworkPolicy" < "p/a/NetworkPolicy" < "p/b/NetworkPolicy"
    assert found[0].ingress == (keys[2], keys[1], keys[0])


def test_each_direction_has_its_own_policies() -> None:
    (tier,) = arranged([place("in", types="i"), place("out", types="e"), place("both")], {})
    assert names(tier.ingress) == ["both", "in"]
    assert names(tier.egress) == ["both", "out"]


def test_only_an_existing_tier_passes_by_default() -> None:
    tiers = {"a": TierSpec(default_action="Pass"), "b": TierSpec(default_action="Allow")}
    found = arranged([place("p", tier) for tier in ("a", "b", "missing")], tiers)
    assert [tier.default for tier in found] == [Action.PASS, Action.DENY, Action.DENY]
