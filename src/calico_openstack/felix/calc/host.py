"""The calculation itself: changes of the cluster in, changes of this host's policy state out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from calico_openstack.datamodel.bgp import BGPPeer
from calico_openstack.datamodel.deferred import DeferredPolicy
from calico_openstack.datamodel.dscp import annotated_dscp
from calico_openstack.datamodel.endpoints import (
    GlobalNetworkSet,
    HostEndpoint,
    NetworkSet,
    WorkloadEndpoint,
)
from calico_openstack.datamodel.invalid import Invalid
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.nodes import Node
from calico_openstack.datamodel.policies import (
    DEFAULT_ALLOW_PROFILE,
    DEFAULT_ALLOW_PROFILE_NAME,
    GlobalNetworkPolicy,
    NetworkPolicy,
    Profile,
)
from calico_openstack.datamodel.pools import IPPool
from calico_openstack.datamodel.remote import RemoteEndpoint
from calico_openstack.datamodel.resource import Resource
from calico_openstack.felix.calc.blocks import ActiveBlocks
from calico_openstack.felix.calc.endpoints import LocalEndpoints
from calico_openstack.felix.calc.groups import Group, GroupIndex, IndexFigures
from calico_openstack.felix.calc.host_endpoints import HostEndpoints
from calico_openstack.felix.calc.ipsets import Member, SetChange
from calico_openstack.felix.calc.judgement import verdicts
from calico_openstack.felix.calc.local_policies import LocalPolicies
from calico_openstack.felix.calc.members import member, named_ports
from calico_openstack.felix.calc.networks import NetworkTable
from calico_openstack.felix.calc.policies import PolicyTable
from calico_openstack.felix.calc.state import HostDelta, HostState, Withdrawal
from calico_openstack.felix.calc.withdrawals import (
    block_withdraws,
    grants_only,
    policy_withdraws,
    set_withdraws,
)
from calico_openstack.felix.calc.workload_peers import WorkloadPeers
from calico_openstack.policy import conversion, host_interfaces, usable
from calico_openstack.policy.addresses import pack_address
from calico_openstack.policy.evaluation import Judgement
from calico_openstack.policy.host_interfaces import InterfaceSelection
from calico_openstack.policy.packet import Direction, Packet
from calico_openstack.policy.rules import RuleBlock

Value = Resource | Invalid | DeferredPolicy
"""What a key may have: read completely, or as far as it is needed."""

_POLICY = (NetworkPolicy, GlobalNetworkPolicy, DeferredPolicy, Invalid)

_Entry = tuple[int, *tuple[Member, ...]]
"""What is kept of any endpoint or network set: the number of its group, then its members."""


class CalculationSettings(Struct, frozen=True):
    """Settings that decide which endpoints and interfaces count.

    *source_spoofing*: endpoints may name source prefixes that are not their own; without it those
    that do are treated as absent (parameter ``WorkloadSourceSpoofing``). *host_interfaces* tells
    which interfaces host endpoints can govern.
    """

    source_spoofing: bool = False
    host_interfaces: InterfaceSelection = field(default_factory=InterfaceSelection)


class HostCalculation:
    """Keeps a `HostState` in step with the cluster, in proportion to what changes.

    `update` takes the present value of a key, in any order and as often as one likes; `flush`
    brings ``state`` up to date and says what changed. The result depends on the present values
    alone.
    """

    def __init__(self, hostname: str, settings: CalculationSettings | None = None) -> None:
        self._hostname = hostname
        self._settings = settings or CalculationSettings()
        self._groups = GroupIndex()
        self._policies = PolicyTable()
        self._profiles: dict[str, Profile] = {DEFAULT_ALLOW_PROFILE_NAME: DEFAULT_ALLOW_PROFILE}
        self._endpoints = LocalEndpoints()
        self._host_endpoints = HostEndpoints(self._settings.host_interfaces)
        # By the key's text: that of an endpoint of another host is shared with the etcd client.
        self._entries: dict[str, _Entry] = {}
        self._blocks = ActiveBlocks(self._groups, self._block)
        self._local_policies = LocalPolicies(
            self._groups, self._policies, self._endpoints, self._host_endpoints, self._blocks
        )
        self._networks = NetworkTable()
        self._peers = WorkloadPeers(hostname)
        self._by_address: dict[bytes, set[ResourceKey]] = {}
        # The endpoints of this host, refused ones included, by their keys' text.
        self._local: dict[str, ResourceKey] = {}
        self.state = HostState(blocks=self._blocks.blocks, sets=self._groups.sets)

    # --- input --------------------------------------------------------------------------------

    def update(self, key: ResourceKey, value: Value | None) -> None:
        """Take up the present value of a key; None: there is none. Unknown kinds are ignored."""
        match key.kind:
            case "WorkloadEndpoint":
                self._update_endpoint(key, value if isinstance(value, WorkloadEndpoint) else None)
            case "NetworkSet" | "GlobalNetworkSet":
                self._update_network_set(key, usable.network_set(value))
            case "HostEndpoint":
                self._update_host_endpoint(key, value)
            case (
                "NetworkPolicy"
                | "GlobalNetworkPolicy"
                | "StagedNetworkPolicy"
                | "StagedGlobalNetworkPolicy"
            ):
                self._policies.update_policy(key, value if isinstance(value, _POLICY) else None)
            case "Tier":
                self._policies.update_tier(key.name, usable.tier(value))
            case "Profile":
                self._update_profile(key, value if isinstance(value, Profile) else None)
            case "IPPool":
                self._networks.update_pool(key, value if isinstance(value, IPPool) else None)
            case "Node":
                node = value if isinstance(value, Node) else None
                self._networks.update_node(key, node)
                self._peers.update_node(key, node)
            case "BGPPeer":
                self._peers.update_peer(key, value if isinstance(value, BGPPeer) else None)

    def update_remote(self, endpoint: RemoteEndpoint) -> None:
        """Take up an endpoint of another host: what `update` does with one, in less time."""
        path, groups = endpoint.path, self._groups
        group = groups.group_of_texts(endpoint.labels, endpoint.profiles)
        old = self._entries.get(path)
        new: _Entry = (group.id, *endpoint.addresses)
        if old != new:
            self._entries[path] = new
            groups.join(group, endpoint.addresses)
            if old is not None:
                groups.leave(groups.by_id[old[0]], old[1:])
        if path in self._local:
            self._leave_host(self._local[path])

    def update_interfaces(self, interfaces: Mapping[str, frozenset[bytes]]) -> None:
        """Take up all interfaces of this host, with their packed addresses."""
        self._host_endpoints.set_interfaces(interfaces)

    def _update_endpoint(self, key: ResourceKey, endpoint: WorkloadEndpoint | None) -> None:
        spoofing = self._settings.source_spoofing
        problem = usable.absence(endpoint, source_spoofing=spoofing) if endpoint else ""
        if endpoint is None or problem:
            self._replace_entry(key.path, None, ())
            self._leave_host(key)
            if endpoint is not None and endpoint.spec.node == self._hostname:
                self._local[key.path] = key
                self.state.problems[key] = problem
            return
        spec = endpoint.spec
        labels = endpoint.metadata.labels
        if spec.service_account_name:
            labels = {**labels, conversion.SERVICE_ACCOUNT_LABEL: spec.service_account_name}
        ports = named_ports(spec.ports) if spec.ports else ()
        group = self._groups.group(labels, spec.profiles, ports)
        self._replace_entry(key.path, group, map(pack_address, spec.ip_networks))
        if spec.node == self._hostname:
            self._join_host(key, endpoint, group)
        else:
            self._leave_host(key)

    def _update_network_set(
        self, key: ResourceKey, value: NetworkSet | GlobalNetworkSet | None
    ) -> None:
        if value is None:
            self._replace_entry(key.path, None, ())
            return
        labels = value.metadata.labels
        profiles: tuple[str, ...] = ()
        if isinstance(value, NetworkSet):
            labels = {**labels, conversion.NAMESPACE_LABEL: key.namespace}
            profiles = (f"kns.{key.namespace}",)
        group = self._groups.group(labels, profiles)
        self._replace_entry(key.path, group, map(member, value.spec.nets))

    def _update_host_endpoint(self, key: ResourceKey, value: Value | None) -> None:
        known = value if isinstance(value, HostEndpoint | Invalid) else None
        endpoint = host_interfaces.enforced(known)
        before = self._host_endpoints.group_of(key)
        if endpoint is None:
            self._replace_entry(key.path, None, ())
            self._host_endpoints.discard(key)
        else:
            spec = endpoint.spec
            group = self._groups.group(
                endpoint.metadata.labels, spec.profiles, named_ports(spec.ports)
            )
            selectable = usable.host_endpoint(value) is not None
            addresses = host_interfaces.expected_addresses(spec) if selectable else ()
            self._replace_entry(key.path, group, addresses)
            if spec.node == self._hostname:
                is_new = not self._is_local(group.id)
                dscp = annotated_dscp(endpoint.metadata.annotations)
                self._host_endpoints.put(key, spec, group, dscp)
                if is_new:
                    self._policies.add_group(group)
            else:
                self._host_endpoints.discard(key)
        if before is not None and before != self._host_endpoints.group_of(key):
            self._check_group(before)

    def _update_profile(self, key: ResourceKey, profile: Profile | None) -> None:
        if key.name == DEFAULT_ALLOW_PROFILE_NAME:
            return
        if profile is None:
            self._profiles.pop(key.name, None)
        else:
            self._profiles[key.name] = profile
        self._blocks.mark((key,))
        labels = profile.spec.labels_to_apply if profile else {}
        for group in self._groups.set_profile_labels(key.name, labels):
            if self._is_local(group.id):
                self._policies.add_group(group)
                if self._peers:
                    self._endpoints.dirty.update(self._endpoints.of_group(group.id))

    def _replace_entry(self, path: str, group: Group | None, members: Iterable[Member]) -> None:
        """Move an endpoint or network set to a group, None: out of all."""
        old = self._entries.get(path)
        new: _Entry | None = (group.id, *members) if group else None
        if old == new:
            return
        if group and new:
            self._entries[path] = new
            self._groups.join(group, new[1:])
        else:
            del self._entries[path]
        if old:
            self._groups.leave(self._groups.by_id[old[0]], old[1:])

    def _join_host(self, key: ResourceKey, endpoint: WorkloadEndpoint, group: Group) -> None:
        self._local[key.path] = key
        known = key in self._endpoints
        before = self._endpoints.group_of(key) if known else None
        # Even if a host endpoint made the group local: what it has for workloads is new.
        is_new = not self._endpoints.of_group(group.id)
        self._endpoints.put(key, endpoint, group)
        self.state.problems.pop(key, None)
        if before is not None and before != group.id:
            self._check_group(before)
        if is_new:
            self._policies.add_group(group)

    def _leave_host(self, key: ResourceKey) -> None:
        self._local.pop(key.path, None)
        self.state.problems.pop(key, None)
        if key in self._endpoints:
            group = self._endpoints.group_of(key)
            self._endpoints.discard(key)
            self._check_group(group)

    def _check_group(self, group: int) -> None:
        """Stop working for a group whose last local endpoint has left."""
        if not self._endpoints.of_group(group):
            self._local_policies.left(group)
        if not self._is_local(group):
            self._policies.remove_group(group)

    def _is_local(self, group: int) -> bool:
        return bool(self._endpoints.of_group(group) or self._host_endpoints.of_group(group))

    def _block(self, key: ResourceKey) -> RuleBlock:
        if key.kind == Profile.KIND:
            return conversion.profile_block(key, self._profiles.get(key.name))
        return self._policies.block(key)

    # --- output -------------------------------------------------------------------------------

    def index_figures(self) -> IndexFigures:
        """Return what the index of labels and selectors has and did; for any thread."""
        return self._groups.figures()

    def flush(self) -> HostDelta:
        """Bring ``state`` up to date with all updates; return what changed since the last call."""
        regrouped = self._local_policies.resolve()
        self._blocks.mark(self._policies.dirty_blocks)
        self._policies.dirty_blocks.clear()
        changes = self._blocks.flush()
        delta = HostDelta(
            blocks=set(changes.blocks), new_sets=changes.new_sets, gone_sets=changes.gone_sets
        )
        for uid, ipset in self._groups.changed_sets.items():
            change = ipset.flush()
            if change and uid not in changes.new_sets:
                delta.sets[uid] = change
        self._groups.changed_sets.clear()
        if self._peers.changed:
            self._peers.changed = False
            self._endpoints.dirty |= self.state.endpoints.keys()
        withdrawn: set[bytes] = set()
        for key in regrouped | self._endpoints.dirty:
            withdrawn |= self._update_outcome(key, delta)
        self._endpoints.dirty.clear()
        for key, (old, new) in changes.blocks.items():
            if old and new and block_withdraws(old, new):
                withdrawn |= self._addresses(key)
        networks = self._networks.flush(self.state.networks)
        if networks != self.state.networks:
            self.state.networks = networks
            delta.networks = True
        delta.host_endpoints = self._host_endpoints.update(
            self.state.host_endpoints, self.state.problems
        )
        delta.withdrawals = self._withdrawals(frozenset(withdrawn), delta.sets)
        return delta

    def _update_outcome(self, key: ResourceKey, delta: HostDelta) -> set[bytes]:
        """Bring one local endpoint up to date; return its addresses if it may have lost rights."""
        endpoints = self.state.endpoints
        old = endpoints.get(key)
        new = None
        if key in self._endpoints:
            rival = self._endpoints.rival(key)
            if rival is None:
                policy = self._local_policies.of_group[self._endpoints.group_of(key)]
                new = self._endpoints.outcome(key, policy, self._peers.of(self.labels_of(key)))
                self.state.problems.pop(key, None)
            else:
                self.state.problems[key] = f"its interface belongs to {rival.name}"
        if new == old:
            return set()
        delta.endpoints.add(key)
        if old:
            del endpoints[key]
            for address in old.addresses:
                self._by_address[address].discard(key)
                if not self._by_address[address]:
                    del self._by_address[address]
        if not new:
            return set()
        endpoints[key] = new
        for address in new.addresses:
            self._by_address.setdefault(address, set()).add(key)
        # A new endpoint may have flows from before a restart, under another policy.
        if (
            old is None
            or old.addresses != new.addresses
            or policy_withdraws(old.policy, new.policy, self._grants_only)
        ):
            return set(new.addresses)
        return set()

    def _withdrawals(
        self, local: frozenset[bytes], sets: Mapping[str, SetChange]
    ) -> tuple[Withdrawal, ...]:
        """Return what has to be judged again: all of *local*, and what lost a set's members."""
        found = [Withdrawal(local)] if local else []
        for uid, change in sets.items():
            affected: set[bytes] = set()
            for key in self._blocks.users_of_set(uid):
                if set_withdraws(self.state.blocks[key], uid, change):
                    affected |= self._addresses(key)
            affected -= local
            if affected:
                found.append(Withdrawal(frozenset(affected), change.addresses()))
        return tuple(found)

    def _addresses(self, block: ResourceKey) -> set[bytes]:
        """Return the addresses of the local endpoints that a policy or profile applies to."""
        return {
            address
            for user in self._blocks.users_of(block)
            if isinstance(user, int)
            for key in self._endpoints.of_group(user)
            if key in self.state.endpoints
            for address in self.state.endpoints[key].addresses
        }

    def _grants_only(self, block: ResourceKey) -> bool:
        return grants_only(self.state.blocks[block])

    def labels_of(self, key: ResourceKey) -> Mapping[str, str]:
        """Return the effective labels of a workload endpoint of this host."""
        return self._groups.by_id[self._endpoints.group_of(key)].labels

    def judge(self, packet: Packet) -> Judgement:
        """Return what the local endpoints at either end of *packet* decide about it.

        As of the last `flush`. An address of several local endpoints is judged by all of them.
        """
        endpoints = self.state.endpoints
        senders = (endpoints[key] for key in self._by_address.get(packet.source, ()))
        receivers = (endpoints[key] for key in self._by_address.get(packet.destination, ()))
        return Judgement(
            (
                *verdicts(self.state, Direction.EGRESS, senders, packet),
                *verdicts(self.state, Direction.INGRESS, receivers, packet),
            )
        )
