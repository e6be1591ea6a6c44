"""What must be stored: the translation of many objects, by key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from calico_openstack.datamodel.dhcp import DhcpSubnet
from calico_openstack.datamodel.endpoints import WorkloadEndpoint
from calico_openstack.datamodel.keys import DhcpSubnetKey, ResourceKey
from calico_openstack.datamodel.migration import LiveMigration
from calico_openstack.datamodel.resource import Resource
from calico_openstack.neutron.translate.endpoint import endpoint_name, translate_port
from calico_openstack.neutron.translate.facts import (
    GroupFacts,
    LogFacts,
    PortFacts,
    Problem,
    SubnetFacts,
)
from calico_openstack.neutron.translate.logs import LOG_POLICY, drop_policy
from calico_openstack.neutron.translate.places import possible_hosts
from calico_openstack.neutron.translate.policy import policy_name, translate_group
from calico_openstack.neutron.translate.qos import NO_LIMITS, Limits
from calico_openstack.neutron.translate.refusals import Details, told_details
from calico_openstack.neutron.translate.subnet import route_problems, translate_subnet

Content = Resource | DhcpSubnet
"""What is stored under a key."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What must be stored, by key, and what could not be honoured in it.

    ``elsewhere`` are problems of objects that have no key because of them. ``possible`` are keys
    at which the objects may have been stored while their attributes were others. ``kept`` are
    keys whose content is only written where something is stored already. ``details`` are those of
    ports' bindings that differ.
    """

    contents: dict[str, Content] = field(default_factory=dict)
    problems: dict[str, tuple[Problem, ...]] = field(default_factory=dict)
    elsewhere: list[Problem] = field(default_factory=list)
    possible: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    details: dict[str, Details] = field(default_factory=dict)

    def add(self, other: Wanted) -> None:
        """Add what another wants."""
        self.contents.update(other.contents)
        self.problems.update(other.problems)
        self.elsewhere.extend(other.elsewhere)
        self.possible.update(other.possible)
        self.kept.update(other.kept)
        self.details.update(other.details)

    @property
    def paths(self) -> set[str]:
        """The keys that must be looked at."""
        return self.possible.union(self.contents)

    def content(self, path: str, is_stored: bool) -> Content | None:
        """Return what must be stored under a key, None for nothing."""
        return None if path in self.kept and not is_stored else self.contents.get(path)


def path_of(resource: Resource) -> str:
    """Return the key under which a resource is stored."""
    metadata = resource.metadata
    return ResourceKey(resource.KIND, metadata.name, metadata.namespace).path


def endpoint_paths(name: str, namespace: str) -> tuple[str, str]:
    """Return the keys of the endpoint of a name and of a migration to it."""
    return (
        ResourceKey(WorkloadEndpoint.KIND, name, namespace).path,
        ResourceKey(LiveMigration.KIND, name, namespace).path,
    )


def wanted_endpoints(
    ports: Iterable[PortFacts], namespace: str, limits: Limits = NO_LIMITS
) -> Wanted:
    """Return the endpoints that ports must have, and the migrations between them."""
    wanted = Wanted()
    for port in ports:
        translated = translate_port(port, namespace, limits)
        for endpoint in translated.endpoints:
            path = path_of(endpoint)
            wanted.contents[path] = endpoint
            wanted.problems[path] = translated.problems
            if translated.rebinding:
                wanted.kept.add(path)
        for migration in translated.migrations:
            wanted.contents[path_of(migration)] = migration
        details = told_details(port, translated.problems)
        if details is not None:
            wanted.details[port.id] = details
        if not translated.endpoints:
            wanted.elsewhere.extend(translated.problems)
        for host in possible_hosts(port):
            name = endpoint_name(host, port.device_id, port.id)
            if name is not None:
                wanted.possible.update(endpoint_paths(name, namespace))
    return wanted


def wanted_policies(
    groups: Iterable[GroupFacts], logs: Iterable[LogFacts], namespace: str
) -> Wanted:
    """Return the policies that security groups and network logs must have."""
    wanted = Wanted()
    for log in logs:
        policy = drop_policy(log, policy_name(LOG_POLICY + log.id), namespace)
        if policy is not None:
            wanted.contents[path_of(policy)] = policy
    for group in groups:
        translated = translate_group(group, namespace)
        path = path_of(translated.policy)
        wanted.contents[path] = translated.policy
        wanted.problems[path] = translated.problems
    return wanted


def wanted_subnets(subnets: Iterable[SubnetFacts], region: str) -> Wanted:
    """Return the DHCP agents' values that subnets must have."""
    wanted = Wanted()
    for subnet in subnets:
        value = translate_subnet(subnet)
        if value is not None:
            path = DhcpSubnetKey(region, subnet.id).path
            wanted.contents[path] = value
            wanted.problems[path] = route_problems(subnet)
    return wanted
