"""What applies to the endpoints of this host, and so which rules are in use."""

from __future__ import annotations

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.policies import Profile
from calico_openstack.felix.calc.blocks import ActiveBlocks
from calico_openstack.felix.calc.endpoints import LocalEndpoints
from calico_openstack.felix.calc.groups import Group, GroupIndex
from calico_openstack.felix.calc.host_endpoints import HostEndpoints
from calico_openstack.felix.calc.policies import PolicyTable
from calico_openstack.policy.ordering import endpoint_policy, host_endpoint_policy
from calico_openstack.policy.rules import EndpointPolicy


class LocalPolicies:
    """The ordered policies of each group of local workload endpoints and of each host endpoint.

    ``of_group`` has those of the groups, as of the last `resolve`.
    """

    def __init__(
        self,
        groups: GroupIndex,
        policies: PolicyTable,
        endpoints: LocalEndpoints,
        host_endpoints: HostEndpoints,
        blocks: ActiveBlocks,
    ) -> None:
        self.of_group: dict[int, EndpointPolicy] = {}
        self._groups = groups
        self._policies = policies
        self._endpoints = endpoints
        self._host_endpoints = host_endpoints
        self._blocks = blocks
        self._left: set[int] = set()
        self._kept_ready: set[ResourceKey] = set()

    def left(self, group: int) -> None:
        """Record that the last local workload endpoint of a group has left."""
        self._left.add(group)

    def resolve(self) -> set[ResourceKey]:
        """Find the policies of groups that may have other ones now; return their endpoints."""
        regrouped: set[ResourceKey] = set()
        host_endpoints = self._host_endpoints.take_dirty()
        for number in self._policies.dirty_groups | self._left:
            host_endpoints.update(self._host_endpoints.of_group(number))
            members = self._endpoints.of_group(number)
            old = self.of_group.pop(number, None)
            new = self._resolve_group(self._groups.by_id[number]) if members else None
            if new:
                self.of_group[number] = new
            if new != old:
                self._blocks.change_user(
                    number, old.blocks() if old else (), new.blocks() if new else ()
                )
                regrouped.update(members)
        self._policies.dirty_groups.clear()
        self._left.clear()
        for key in host_endpoints:
            self._resolve_host_endpoint(key)
        self._keep_ready()
        return regrouped

    def _resolve_group(self, group: Group) -> EndpointPolicy:
        return endpoint_policy(
            self._policies.placements_of(group), self._policies.tiers, _profiles(group)
        )

    def _resolve_host_endpoint(self, key: ResourceKey) -> None:
        number = self._host_endpoints.group_of(key)
        old, new = self._host_endpoints.policies.get(key), None
        if number is not None:
            group = self._groups.by_id[number]
            new = host_endpoint_policy(
                self._policies.placements_of(group), self._policies.tiers, _profiles(group)
            )
        if new != old:
            self._blocks.change_user(key, old.blocks() if old else (), new.blocks() if new else ())
            self._host_endpoints.set_policy(key, new)

    def _keep_ready(self) -> None:
        """Use the policies whose rules are to be ready in any case."""
        needed = self._policies.needed_everywhere
        for key in needed - self._kept_ready:
            self._blocks.change_user(key, (), (key,))
        for key in self._kept_ready - needed:
            self._blocks.change_user(key, (key,), ())
        self._kept_ready = set(needed)


def _profiles(group: Group) -> tuple[ResourceKey, ...]:
    return tuple(ResourceKey(Profile.KIND, name) for name in group.profiles)
