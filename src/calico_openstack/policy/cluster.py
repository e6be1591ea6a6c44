"""A whole cluster at one moment, and what its policies decide, computed from scratch.

Answers questions about single packets by looking at everything: the reference that the incremental
calculation of Felix is tested against, and what explains a verdict to people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from msgspec import Struct

from calico_openstack.datamodel.endpoints import (
    GlobalNetworkSet,
    HostEndpoint,
    HostEndpointPort,
    NetworkSet,
    WorkloadEndpoint,
    WorkloadEndpointPort,
)
from calico_openstack.datamodel.invalid import Invalid, as_far_as_read
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
from calico_openstack.policy import conversion, host_interfaces, ordering, usable
from calico_openstack.policy.addresses import Prefix, pack_prefix
from calico_openstack.policy.evaluation import EndpointVerdict, Judgement, evaluate
from calico_openstack.policy.ordering import Placement
from calico_openstack.policy.packet import Direction, Packet
from calico_openstack.policy.passage import Host, HostRules, WorkloadInterface
from calico_openstack.policy.rules import (
    EndpointPolicy,
    HostEndpointPolicy,
    NamedPort,
    RuleBlock,
    is_staged,
)


class Holder(Struct, frozen=True):
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
            key.name: spec
            for key, value in resources.items()
            if key.kind == Tier.KIND and (spec := usable.tier(value))
        }
        self.endpoints: dict[ResourceKey, WorkloadEndpoint] = {
            key: value
            for key, value in resources.items()
            if isinstance(value, WorkloadEndpoint)
            and not usable.absence(value, source_spoofing=source_spoofing)
        }
        self.host_endpoints: dict[ResourceKey, HostEndpoint] = {
            key: endpoint
            for key, value in resources.items()
            if (endpoint := host_interfaces.enforced(value))
        }

    # --- who is who ---------------------------------------------------------------------------

    def holders(self) -> Iterator[Holder]:
        """Yield everything that selectors can choose."""
        for key in self.endpoints:
            yield self._endpoint_holder(key)
        for key, value in self._resources.items():
            match usable.network_set(value) or usable.host_endpoint(value):
                case HostEndpoint():
                    yield self._host_holder(key)
                case NetworkSet() as found:
                    own = {**found.metadata.labels, conversion.NAMESPACE_LABEL: key.namespace}
                    labels = self._inherited(own, (f"kns.{key.namespace}",))
                    yield Holder(labels, tuple(map(pack_prefix, found.spec.nets)))
                case GlobalNetworkSet() as found:
                    labels = self._inherited(found.metadata.labels, ())
                    yield Holder(labels, tuple(map(pack_prefix, found.spec.nets)))

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
            any((name, protocol, port) in holder.ports for name in named.names)
            and any(network.covers(address) for network in holder.networks)
            for holder in self.holders()
            if named.selector.matches(holder.labels)
        )

    # --- what applies -------------------------------------------------------------------------

    def policy_of(self, endpoint: ResourceKey) -> EndpointPolicy:
        """Return the ordered policies and profiles of an endpoint."""
        return ordering.endpoint_policy(
            self._placements(self._endpoint_holder(endpoint).labels),
            self._tiers,
            _profiles(self.endpoints[endpoint].spec.profiles),
        )

    def host_policy_of(self, endpoint: ResourceKey) -> HostEndpointPolicy:
        """Return the ordered policies and profiles of a host endpoint."""
        return ordering.host_endpoint_policy(
            self._placements(self._host_holder(endpoint).labels),
            self._tiers,
            _profiles(self.host_endpoints[endpoint].spec.profiles),
        )

    def governors(
        self, host: str, interfaces: Mapping[str, frozenset[bytes]]
    ) -> dict[str, ResourceKey]:
        """Return which host endpoint governs which of a host's own interfaces."""
        own = {k: e.spec for k, e in self.host_endpoints.items() if e.spec.node == host}
        return host_interfaces.governors(own, interfaces)

    def host(self, name: str, interfaces: Mapping[str, frozenset[bytes]], rules: HostRules) -> Host:
        """Return what decides on a host that has *interfaces* of its own, with their addresses."""
        governors = self.governors(name, interfaces)
        workloads = {
            interface: self._workload_interface(key)
            for interface, key in self._workloads_of(name).items()
        }
        endpoints = {each: (key, self.host_policy_of(key)) for each, key in governors.items()}
        used = [each.policy.blocks() for each in workloads.values()]
        used += [policy.blocks() for _, policy in endpoints.values()]
        blocks = {key: self.block(key) for some in used for key in some}
        return Host(rules, workloads, endpoints, blocks, self)

    def _workloads_of(self, host: str) -> dict[str, ResourceKey]:
        """Return which endpoint has which interface; the lowest claim wins."""
        found: dict[str, ResourceKey] = {}
        local = {k: e.spec for k, e in self.endpoints.items() if e.spec.node == host}
        for key in sorted(
            local,
            key=lambda k: (
                local[k].orchestrator,
                f"{k.namespace}/{local[k].workload}",
                local[k].endpoint,
                k.name,
            ),
        ):
            found.setdefault(local[key].interface_name, key)
        return found

    def _workload_interface(self, key: ResourceKey) -> WorkloadInterface:
        spec = self.endpoints[key].spec
        sources = (*spec.ip_networks, *spec.allow_spoofed_source_prefixes)
        return WorkloadInterface(key, self.policy_of(key), tuple(map(pack_prefix, sources)))

    def _placements(self, labels: Mapping[str, str]) -> list[Placement]:
        return [
            conversion.placement(key, policy)
            for key, value in self._resources.items()
            if (policy := _enforceable(key, value)) and _applies(key, policy, labels)
        ]

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
            _ports(spec.ports),
        )

    def _host_holder(self, key: ResourceKey) -> Holder:
        endpoint = self.host_endpoints[key]
        spec = endpoint.spec
        return Holder(
            self._inherited(endpoint.metadata.labels, spec.profiles),
            tuple(Prefix(a, len(a) * 8) for a in host_interfaces.expected_addresses(spec)),
            _ports(spec.ports),
        )

    def _inherited(self, own: Mapping[str, str], profiles: tuple[str, ...]) -> dict[str, str]:
        """Return own labels and those of the profiles; own ones and earlier profiles win."""
        labels = {k: v for k, v in own.items() if not k.startswith(conversion.INHERITED_PREFIXES)}
        for name in profiles:
            profile = self._resources.get(ResourceKey(Profile.KIND, name))
            if isinstance(profile, Profile) and name != DEFAULT_ALLOW_PROFILE_NAME:
                labels = {**profile.spec.labels_to_apply, **labels}
        return labels


def _ports(
    ports: tuple[WorkloadEndpointPort, ...] | tuple[HostEndpointPort, ...],
) -> tuple[tuple[str, int, int], ...]:
    return tuple(
        (port.name, protocol_number(port.protocol) or 0, port.port) for port in ports if port.name
    )


def _profiles(names: tuple[str, ...]) -> tuple[ResourceKey, ...]:
    return tuple(ResourceKey(Profile.KIND, name) for name in names)


def _policy_of(value: Resource | Invalid | None) -> conversion.Policy | None:
    found = as_far_as_read(value)
    return found if isinstance(found, NetworkPolicy | GlobalNetworkPolicy) else None


def _enforceable(key: ResourceKey, value: Resource | Invalid) -> conversion.Policy | None:
    """Return a policy that has a place in the order; an invalid staged one would do nothing."""
    policy = _policy_of(value)
    if policy is None or (isinstance(value, Invalid) and is_staged(key)):
        return None
    return policy if conversion.counts(policy) else None


def _applies(key: ResourceKey, policy: conversion.Policy, labels: Mapping[str, str]) -> bool:
    try:
        return conversion.endpoint_selector(key, policy).matches(labels)
    except SelectorError:
        return False
