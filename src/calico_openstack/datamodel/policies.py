"""Policies, the tiers that order them, and profiles."""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec

from calico_openstack.datamodel.resource import (
    JsonObject,
    Metadata,
    Resource,
    written_even_if_empty,
)
from calico_openstack.datamodel.rules import Rule

DEFAULT_TIER: Final = "default"
TIER_LABEL: Final = "projectcalico.org/tier"
DEFAULT_ALLOW_PROFILE_NAME: Final = "projectcalico-default-allow"


class NetworkPolicySpec(JsonObject, frozen=True, kw_only=True):
    """Body of a namespaced policy.

    ``order`` None sorts last; an empty ``selector`` is every endpoint of the namespace; empty
    ``types`` apply to both directions. The two rule lists are always written.
    """

    tier: str = ""
    order: float | None = None
    ingress: tuple[Rule, ...] = msgspec.field(default_factory=written_even_if_empty)
    egress: tuple[Rule, ...] = msgspec.field(default_factory=written_even_if_empty)
    selector: str = ""
    types: tuple[str, ...] = ()
    service_account_selector: str = ""
    performance_hints: tuple[str, ...] = ()


class NetworkPolicy(Resource, frozen=True, kw_only=True):
    """A policy for the endpoints of one namespace."""

    KIND: ClassVar[str] = "NetworkPolicy"
    PLURAL: ClassVar[str] = "networkpolicies"
    NAMESPACED: ClassVar[bool] = True

    kind: str = KIND
    spec: NetworkPolicySpec = NetworkPolicySpec()


class GlobalNetworkPolicySpec(JsonObject, frozen=True, kw_only=True):
    """Body of a policy for endpoints of every namespace, and for host endpoints."""

    tier: str = ""
    order: float | None = None
    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()
    selector: str = ""
    types: tuple[str, ...] = ()
    service_account_selector: str = ""
    namespace_selector: str = ""
    do_not_track: bool = False
    pre_dnat: bool = msgspec.field(default=False, name="preDNAT")
    apply_on_forward: bool = False
    performance_hints: tuple[str, ...] = ()


class GlobalNetworkPolicy(Resource, frozen=True, kw_only=True):
    """A policy for endpoints of every namespace, and for host endpoints."""

    KIND: ClassVar[str] = "GlobalNetworkPolicy"
    PLURAL: ClassVar[str] = "globalnetworkpolicies"

    kind: str = KIND
    spec: GlobalNetworkPolicySpec = GlobalNetworkPolicySpec()


class StagedNetworkPolicySpec(NetworkPolicySpec, frozen=True, kw_only=True):
    """Body of a staged policy: a policy's own, and what is to become of the policy of that name.

    ``staged_action`` is ``Set`` (or empty), ``Delete``, ``Learn`` or ``Ignore``.
    """

    staged_action: str = ""


class StagedNetworkPolicy(NetworkPolicy, frozen=True, kw_only=True):
    """A policy of one namespace that is tried out: it decides nothing."""

    KIND: ClassVar[str] = "StagedNetworkPolicy"
    PLURAL: ClassVar[str] = "stagednetworkpolicies"

    kind: str = KIND
    spec: StagedNetworkPolicySpec = StagedNetworkPolicySpec()


class StagedGlobalNetworkPolicySpec(GlobalNetworkPolicySpec, frozen=True, kw_only=True):
    """Body of a staged global policy; see `StagedNetworkPolicySpec`."""

    staged_action: str = ""


class StagedGlobalNetworkPolicy(GlobalNetworkPolicy, frozen=True, kw_only=True):
    """A global policy that is tried out: it decides nothing."""

    KIND: ClassVar[str] = "StagedGlobalNetworkPolicy"
    PLURAL: ClassVar[str] = "stagedglobalnetworkpolicies"

    kind: str = KIND
    spec: StagedGlobalNetworkPolicySpec = StagedGlobalNetworkPolicySpec()


class TierSpec(JsonObject, frozen=True, kw_only=True):
    """Order of a tier (None sorts last) and what it does with packets no policy decides."""

    order: float | None = None
    default_action: str = ""


class Tier(Resource, frozen=True, kw_only=True):
    """A group of policies that is evaluated as one step."""

    KIND: ClassVar[str] = "Tier"
    PLURAL: ClassVar[str] = "tiers"

    kind: str = KIND
    spec: TierSpec = TierSpec()
    status: dict[str, Any] = msgspec.field(default_factory=dict)


class ProfileSpec(JsonObject, frozen=True, kw_only=True):
    """Rules for endpoints that list the profile, and labels that they inherit."""

    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()
    labels_to_apply: dict[str, str] = msgspec.field(default_factory=dict)


class Profile(Resource, frozen=True, kw_only=True):
    """Rules and labels that endpoints refer to by name."""

    KIND: ClassVar[str] = "Profile"
    PLURAL: ClassVar[str] = "profiles"

    kind: str = KIND
    spec: ProfileSpec = ProfileSpec()


DEFAULT_ALLOW_PROFILE: Final = Profile(
    metadata=Metadata(name=DEFAULT_ALLOW_PROFILE_NAME, resource_version="1"),
    spec=ProfileSpec(ingress=(Rule(action="Allow"),), egress=(Rule(action="Allow"),)),
)
"""The profile that exists without being stored; a stored copy is ignored."""
