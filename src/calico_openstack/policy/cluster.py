"""A whole cluster at one moment, and what its policies decide, computed from scratch.

Answers questions about single packets by looking at everything: the reference that the incremental
calculation of Felix is tested against, and what explains a verdict to people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from calico_openstack.datamodel.endpoints import GlobalNetworkSet, NetworkSet, WorkloadEndpoint
from calico_openstack.datamodel.invalid import Invalid
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.policies import (
    DEFAULT_ALLOW_PROFILE,
    DEFAULT_ALLOW_PROFILE_NAME,
    GlobalNetworkPolicy,
    NetworkPolicy,
    Profile,
    Tier,
)
from calico_openstack.datamodel.protocols import protocol_number
from calico_openstack.datamodel.resource import Resource
from calico_openstack.datamodel.selector import Selector, SelectorError
from calico_openstack.policy import conversion
from calico_openstack.policy.addresses import Prefix, pack_prefix
from calico_openstack.policy.evaluation import EndpointVerdict, Judgement, evaluate
from calico_openstack.policy.ordering import arranged
from calico_openstack.policy.packet import Direction, Packet
from calico_openstack.policy.rules import EndpointPolicy, NamedPort, RuleBlock


@dataclass(frozen=True, slots=True)
class Holder:
    """An endpoint or network set as selectors see it: labels, networks and named ports.

    A port is its name, its protocol's number and its number.
    """

    labels: Mapping[str, str]
    networks: tuple[Prefix, ...]
    ports: tuple[tuple[str, int, int], ...] = ()


class Cluster:
    """All *resources*, of which *source_spoofing* says whether endpoints may use foreign sources.

    Answers as `policy.evaluation.Members` too.
    """

    def __init__(
        self, resources: Mapping[ResourceKey, Resource | Invalid], *, source_spoofing: bool = False
    ) -> None:
        self._resources = resources
        self._tiers = {
            key.name: value.spec for key, value in resources.items() if isinstance(value, Tier)
        }
        self.endpoints: dict[ResourceKey, WorkloadEndpoint] = {
            key: value
            for key, value in resources.items()
            if isinstance(value, WorkloadEndpoint) and _counts(value, source_spoofing)
        }

    # --- who is who ---------------------------------------------------------------------------

    def holders(self) -> Iterator[Holder]:
        """Yield everything that selectors can choose."""
        for key in self.endpoints:
            yield self._endpoint_holder(key)
        for key, value in self._resources.items():
            match value:
                case NetworkSet():
                    own = {**value.metadata.labels, conversion.NAMESPACE_LABEL: key.namespace}
                    labels = self._inherited(own, (f"kns.{key.namespace}",))
                    yield Holder(labels, tuple(map(pack_prefix, value.spec.nets)))
                case GlobalNetworkSet():
                    labels = self._inherited(value.metadata.labels, ())
                    yield Holder(labels, tuple(map(pack_prefix, value.spec.nets)))

    def selects(self, selector: Selector, address: bytes) -> bool:
        """Tell whether an endpoint or network set that *selector* matches has *address*."""
        return any(
            any(network.covers(address) for network in holder.networks)
            for holder in self.holders()
            if selector.matches(holder.labels)
        )

    def selects_port(self, named: NamedPort, address: bytes, protocol: int, port: int) -> bool:
        """Tell whether an endpoint of *named* has *address* and that port under its name."""
        return named.protocol in (None, protocol) and any(
            (named.name, protocol, port) in holder.ports
            and any(network.covers(address) for network in holder.networks)
            for holder in self.holders()
            if named.selector.matches(holder.labels)
        )

    # --- what applies -------------------------------------------------------------------------

    def policy_of(self, endpoint: ResourceKey) -> EndpointPolicy:
        """Return the ordered policies and profiles of an endpoint."""
        labels = self._endpoint_holder(endpoint).labels
        placements = []
        for key, value in self._resources.items():
            policy = value.resource if isinstance(value, Invalid) else value
            if isinstance(policy, NetworkPolicy | GlobalNetworkPolicy) and _applies(
                key, policy, labels
            ):
                placements.append(conversion.placement(key, policy))
        profiles = self.endpoints[endpoint].spec.profiles
        return EndpointPolicy(
            arranged(placements, self._tiers),
            tuple(ResourceKey(Profile.KIND, name) for name in profiles),
        )

    def block(self, key: ResourceKey) -> RuleBlock:
        """Return the rules of a policy or profile; what is missing or invalid denies."""
        value = self._resources.get(key)
        if key.kind == Profile.KIND:
            if key.name == DEFAULT_ALLOW_PROFILE_NAME:
                value = DEFAULT_ALLOW_PROFILE
            return conversion.profile_block(key, value if isinstance(value, Profile) else None)
        if isinstance(value, NetworkPolicy | GlobalNetworkPolicy):
            return conversion.policy_block(key, value)
        return conversion.denial(key, _policy_of(value))

    def judge(
        self, packet: Packet, concerns: Callable[[ResourceKey, Direction], bool]
    ) -> Judgement:
        """Return what the endpoints at the two ends of *packet* decide.

        *concerns* tells which endpoint has a say in which direction.
        """
        verdicts = []
        for key in self.endpoints:
            networks = self._endpoint_holder(key).networks
            for direction, address in (
                (Direction.EGRESS, packet.source),
                (Direction.INGRESS, packet.destination),
            ):
                if any(n.covers(address) for n in networks) and concerns(key, direction):
                    policy = self.policy_of(key)
                    blocks = {each: self.block(each) for each in policy.blocks()}
                    verdict = evaluate(policy, blocks, direction, packet, self)
                    verdicts.append(EndpointVerdict(key, direction, verdict))
        return Judgement(tuple(verdicts))

    # --- labels -------------------------------------------------------------------------------

    def _endpoint_holder(self, key: ResourceKey) -> Holder:
        endpoint = self.endpoints[key]
        spec = endpoint.spec
        own = dict(endpoint.metadata.labels)
        if spec.service_account_name:
            own[conversion.SERVICE_ACCOUNT_LABEL] = spec.service_account_name
        return Holder(
            self._inherited(own, spec.profiles),
            tuple(map(pack_prefix, spec.ip_networks)),
            tuple(
                (port.name, protocol_number(port.protocol) or 0, port.port)
                for port in spec.ports
                if port.name
            ),
        )

    def _inherited(self, own: Mapping[str, str], profiles: tuple[str, ...]) -> dict[str, str]:
        """Return own labels and those of the profiles; own ones and earlier profiles win."""
        labels = {k: v for k, v in own.items() if not k.startswith(conversion.INHERITED_PREFIXES)}
        for name in profiles:
            profile = self._resources.get(ResourceKey(Profile.KIND, name))
            if isinstance(profile, Profile) and name != DEFAULT_ALLOW_PROFILE_NAME:
                labels = {**profile.spec.labels_to_apply, **labels}
        return labels


def _counts(endpoint: WorkloadEndpoint, source_spoofing: bool) -> bool:
    spec = endpoint.spec
    return bool(
        spec.ip_networks
        and spec.interface_name
        and (source_spoofing or not spec.allow_spoofed_source_prefixes)
    )


def _policy_of(value: Resource | Invalid | None) -> conversion.Policy | None:
    found = value.resource if isinstance(value, Invalid) else None
    return found if isinstance(found, NetworkPolicy | GlobalNetworkPolicy) else None


def _applies(key: ResourceKey, policy: conversion.Policy, labels: Mapping[str, str]) -> bool:
    if not conversion.is_for_workloads(policy):
        return False
    try:
        return conversion.endpoint_selector(key, policy).matches(labels)
    except SelectorError:
        return False
