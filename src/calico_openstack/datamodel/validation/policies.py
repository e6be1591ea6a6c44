"""Checks of policies, tiers and profiles."""

from __future__ import annotations

from typing import Final

from calico_openstack.datamodel.policies import (
    GlobalNetworkPolicy,
    NetworkPolicy,
    Profile,
    StagedGlobalNetworkPolicy,
    StagedGlobalNetworkPolicySpec,
    StagedNetworkPolicy,
    StagedNetworkPolicySpec,
    Tier,
)
from calico_openstack.datamodel.selector import NAMESPACE_PREFIX, SERVICE_ACCOUNT_PREFIX
from calico_openstack.datamodel.validation.findings import Findings
from calico_openstack.datamodel.validation.rules import check_rules
from calico_openstack.datamodel.validation.syntax import check_labels, check_name, check_selector

_DIRECTIONS: Final = frozenset({"Ingress", "Egress"})
_STAGED_ACTIONS: Final = ("", "Set", "Delete", "Learn", "Ignore")
_HINTS: Final = frozenset({"AssumeNeededOnEveryNode"})


def check_network_policy(findings: Findings, policy: NetworkPolicy) -> None:
    """Check a policy of a namespace."""
    _check_policy(findings, policy)


def check_global_network_policy(findings: Findings, policy: GlobalNetworkPolicy) -> None:
    """Check a policy of the cluster."""
    _check_policy(findings, policy)
    spec = policy.spec
    field = "spec.namespaceSelector"
    namespaces = spec.namespace_selector
    check_selector(findings, field, namespaces, globally=False, prefix=NAMESPACE_PREFIX)
    if spec.do_not_track and spec.pre_dnat:
        findings.add("spec.preDNAT", "cannot be together with doNotTrack")
    if spec.pre_dnat and (spec.egress or "Egress" in spec.types):
        findings.add("spec.egress", "cannot be in a preDNAT policy")
    if (spec.do_not_track or spec.pre_dnat) and not spec.apply_on_forward:
        findings.add("spec.applyOnForward", "must be true with doNotTrack or preDNAT")


def check_staged_policy(
    findings: Findings, policy: StagedNetworkPolicy | StagedGlobalNetworkPolicy
) -> None:
    """Check a policy that is tried out."""
    if policy.spec.staged_action == "Delete":
        _check_deletion(findings, policy.spec)
    if isinstance(policy, StagedGlobalNetworkPolicy):
        check_global_network_policy(findings, policy)
    else:
        check_network_policy(findings, policy)
    findings.require_one_of("spec.stagedAction", policy.spec.staged_action, _STAGED_ACTIONS)


def _check_deletion(
    findings: Findings, spec: StagedNetworkPolicySpec | StagedGlobalNetworkPolicySpec
) -> None:
    """Check that a staged deletion says which policy it deletes and nothing of another one.

    Its types may stand there: writers fill them in.
    """
    plain = type(spec)(tier=spec.tier, types=spec.types, staged_action=spec.staged_action)
    if spec != plain:
        findings.add("spec.stagedAction", "is 'Delete', but the policy says more than its tier")


def _check_policy(findings: Findings, policy: NetworkPolicy | GlobalNetworkPolicy) -> None:
    spec = policy.spec
    if spec.tier:
        check_name(findings, "spec.tier", spec.tier)
    check_selector(findings, "spec.selector", spec.selector, globally=False)
    field, accounts = "spec.serviceAccountSelector", spec.service_account_selector
    check_selector(findings, field, accounts, globally=False, prefix=SERVICE_ACCOUNT_PREFIX)
    for name, values, allowed in (
        ("spec.types", spec.types, _DIRECTIONS),
        ("spec.performanceHints", spec.performance_hints, _HINTS),
    ):
        for value in values:
            findings.require_one_of(name, value, allowed)
        findings.require_distinct(name, values)
    check_rules(findings, "spec.ingress", spec.ingress)
    check_rules(findings, "spec.egress", spec.egress)


def check_tier(findings: Findings, tier: Tier) -> None:
    """Check a tier."""
    action = tier.spec.default_action
    findings.require_one_of("spec.defaultAction", action, ("", "Deny", "Pass"))


def check_profile(findings: Findings, profile: Profile) -> None:
    """Check a profile."""
    spec = profile.spec
    check_rules(findings, "spec.ingress", spec.ingress)
    check_rules(findings, "spec.egress", spec.egress)
    check_labels(findings, "spec.labelsToApply", spec.labels_to_apply)
