"""Named states of a cluster, and what they mean for this host."""

from __future__ import annotations

from calico_openstack.datamodel.endpoints import GlobalNetworkSet, NetworkSetSpec
from calico_openstack.datamodel.invalid import Invalid, Reason
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.policies import Profile, ProfileSpec, Tier, TierSpec
from calico_openstack.datamodel.resource import Metadata, Resource
from calico_openstack.datamodel.rules import Rule
from calico_openstack.felix.calc import CalculationSettings, HostCalculation, HostDelta
from calico_openstack.policy.addresses import pack_address
from calico_openstack.policy.packet import Packet
from calico_openstack.policy.rules import DENY_ALL
from tests.support.resources import allow, group_policy, workload

Items = tuple[ResourceKey, Resource | Invalid | None]


def address(number: int) -> bytes:
    return pack_address(f"10.0.0.{number}")


def tcp(source: int, destination: int, port: int = 80) -> Packet:
    return Packet(address(source), address(destination), 6, 1000, port)


class Cluster:
    """A calculation for the host ``here``."""

    def __init__(self, *items: Items, spoofing: bool = False) -> None:
        self.calculation = HostCalculation("here", CalculationSettings(source_spoofing=spoofing))
        self.state = self.calculation.state
        self.put(*items)

    def put(self, *items: Items) -> HostDelta:
        for key, value in items:
            self.calculation.update(key, value)
        return self.calculation.flush()

    def allows(self, packet: Packet) -> bool:
        return self.calculation.judge(packet).allowed

    def ends(self, delta: HostDelta, source: int, destination: int) -> bool:
        """Tell whether a delta says that flows between two addresses must be judged again."""
        flow = address(source), address(destination)
        return any(withdrawal.concerns(*flow) for withdrawal in delta.withdrawals)

    def members(self) -> set[bytes]:
        (ipset,) = self.state.sets.values()
        return {member for member in ipset.counts if len(member) == 4}


WEB = group_policy("web", allow("TCP", 80))
DB = group_policy("db", allow("TCP", 3306, group="web"))


def test_only_local_endpoints_are_programmed() -> None:
    cluster = Cluster(WEB, DB, workload(1, "web"), workload(2, "db", node="there"))
    assert set(cluster.state.endpoints) == {workload(1)[0]}
    # The policy of a group without members here is not in use, nor is the set that it needs.
    assert set(cluster.state.blocks) == {WEB[0]}
    assert not cluster.state.sets


def test_members_of_a_remote_group() -> None:
    cluster = Cluster(DB, workload(1, "db"), workload(2, "web", node="there"))
    assert cluster.members() == {address(2)}
    delta = cluster.put(workload(3, "web", node="there"))
    (change,) = delta.sets.values()
    assert address(3) in change.added
    assert not delta.blocks
    assert not delta.endpoints
    cluster.put((workload(2, node="there")[0], None))
    assert cluster.members() == {address(3)}


def test_address_of_two_members_stays_until_both_have_left() -> None:
    one = workload(2, "web", node="there")
    two = workload(3, "web", node="there", ip_networks=("10.0.0.2",))
    cluster = Cluster(DB, workload(1, "db"), one, two)
    assert not cluster.put((one[0], None)).sets[next(iter(cluster.state.sets))].removed & {
        address(2)
    }
    assert cluster.members() == {address(2)}
    cluster.put((two[0], None))
    assert cluster.members() == set()


def test_no_policy_is_closed() -> None:
    cluster = Cluster(workload(1), workload(2))
    assert not cluster.allows(tcp(1, 2))


def test_both_ends_must_allow() -> None:
    cluster = Cluster(WEB, workload(1, "web"), workload(2))
    assert not cluster.allows(tcp(1, 2))
    cluster.put(workload(2, "web"))
    assert cluster.allows(tcp(1, 2))
    assert not cluster.allows(tcp(1, 2, 81))


def test_missing_and_invalid_profile_deny() -> None:
    key = ResourceKey("Profile", "p")
    open_profile = Profile(spec=ProfileSpec(ingress=(Rule(action="Allow"),)))
    cluster = Cluster(workload(1, profiles=("p",)))
    assert cluster.state.blocks[key].ingress == DENY_ALL
    cluster.put((key, open_profile))
    assert cluster.allows(tcp(9, 1))
    cluster.put((key, Invalid(key.path, key, (Reason("spec", "wrong"),))))
    assert not cluster.allows(tcp(9, 1))


def test_builtin_profile_cannot_be_changed() -> None:
    key = ResourceKey("Profile", "projectcalico-default-allow")
    cluster = Cluster(workload(1, profiles=(key.name,)), (key, Profile()))
    assert cluster.allows(tcp(9, 1))


def test_labels_of_profiles_are_inherited() -> None:
    key = ResourceKey("Profile", "p")
    rules = (Rule(action="Deny"),)
    cluster = Cluster(WEB, workload(1, profiles=("p",)))
    assert not cluster.allows(tcp(9, 1))
    spec = ProfileSpec(ingress=rules, labels_to_apply={"sg-web": ""})
    cluster.put((key, Profile(spec=spec)))
    assert cluster.allows(tcp(9, 1))
    cluster.put((key, None))
    assert not cluster.allows(tcp(9, 1))


def test_own_labels_that_only_profiles_may_give_do_not_count() -> None:
    policy = group_policy("web", allow("TCP"), selector="has(pcns.x)")
    key, endpoint = workload(1)
    labels = {**endpoint.metadata.labels, "pcns.x": ""}
    metadata = Metadata(name=key.name, namespace=key.namespace, labels=labels)
    cluster = Cluster(policy, (key, type(endpoint)(metadata=metadata, spec=endpoint.spec)))
    assert not cluster.state.blocks


def test_invalid_policy_denies_what_it_selects() -> None:
    key, policy = WEB
    cluster = Cluster(WEB, workload(1, "web"), workload(2, "other"))
    cluster.put((key, Invalid(key.path, key, (Reason("spec", "wrong"),), policy)))
    assert cluster.state.blocks[key].ingress == DENY_ALL
    assert not cluster.allows(tcp(9, 1))


def test_unreadable_policy_contributes_nothing() -> None:
    key, _ = WEB
    cluster = Cluster(WEB, workload(1, "web"))
    cluster.put((key, Invalid(key.path, key, (Reason("", "not JSON"),))))
    assert key not in cluster.state.blocks
    assert not cluster.allows(tcp(9, 1))


def test_policy_of_a_missing_tier_is_enforced_last() -> None:
    first = group_policy("web", tier="first")
    cluster = Cluster(WEB, workload(1, "web"))
    assert cluster.allows(tcp(9, 1))
    strict = group_policy("web", allow("TCP", 443), tier="later")
    strict = ResourceKey("NetworkPolicy", "strict", "openstack"), strict[1]
    cluster.put(strict, (ResourceKey("Tier", "default"), Tier()))
    assert cluster.allows(tcp(9, 1))
    passing = TierSpec(default_action="Pass")
    cluster.put((ResourceKey("Tier", "default"), Tier(spec=passing)))
    assert not cluster.allows(tcp(9, 1, 8080))
    assert cluster.allows(tcp(9, 1, 443))
    assert first[1].spec.tier == "first"


def test_absent_endpoints() -> None:
    for spec, reason in (
        ({"ip_networks": ()}, "address"),
        ({"interface_name": ""}, "interface"),
        ({"allow_spoofed_source_prefixes": ("10.9.0.0/16",)}, "foreign source"),
    ):
        key, endpoint = workload(1, **spec)
        cluster = Cluster((key, endpoint))
        assert not cluster.state.endpoints
        assert reason in cluster.state.problems[key]
        cluster.put((key, None))
        assert not cluster.state.problems


def test_spoofing_where_it_is_permitted() -> None:
    key, endpoint = workload(1, allow_spoofed_source_prefixes=("10.9.0.0/16",))
    cluster = Cluster((key, endpoint), spoofing=True)
    assert [str(prefix) for prefix in cluster.state.endpoints[key].sources] == ["10.9.0.0/16"]


def test_interface_of_two_endpoints() -> None:
    one, two = workload(1), workload(2, interface_name="tap1")
    cluster = Cluster(two)
    assert set(cluster.state.endpoints) == {two[0]}
    cluster.put(one)
    assert set(cluster.state.endpoints) == {one[0]}
    assert one[0].name in cluster.state.problems[two[0]]
    cluster.put((one[0], None))
    assert set(cluster.state.endpoints) == {two[0]}
    assert not cluster.state.problems


def test_network_sets_are_members_too() -> None:
    key = ResourceKey("GlobalNetworkSet", "n")
    metadata = Metadata(name="n", labels={"sg-web": "", "projectcalico.org/namespace": "openstack"})
    nets = ("10.9.0.0/16", "10.9.1.0/24", "192.0.2.7", "::/0")
    cluster = Cluster(DB, workload(1, "db"))
    cluster.put((key, GlobalNetworkSet(metadata=metadata, spec=NetworkSetSpec(nets=nets))))
    (ipset,) = cluster.state.sets.values()
    assert set(ipset.counts) == {pack_address("192.0.2.7")}
    # The narrower network is part of the wider one.
    assert [(r.first, r.last) for r in ipset.ranges] == [
        (pack_address("10.9.0.0"), pack_address("10.9.255.255")),
        (bytes(16), b"\xff" * 16),
    ]
    for inside in ("10.9.1.2", "192.0.2.7", "2001:db8::1"):
        assert pack_address(inside) in ipset
    for outside in ("10.10.0.0", "192.0.2.8", "0.0.0.0"):
        assert pack_address(outside) not in ipset


def test_withdrawn_permissions() -> None:
    remote = workload(2, "web", node="there")
    cluster = Cluster(DB, workload(1, "db"), workload(3, "db"), remote)
    # Nothing that only grants has to be judged again...
    assert not cluster.put(workload(4, "web", node="there")).withdrawals
    more = group_policy("db", allow("TCP", 3306, group="web"), allow("TCP", 22))
    assert not cluster.put(more).withdrawals
    assert not cluster.put(workload(5, "web", node="there")).withdrawals
    # ...a member that leaves: its own flows only...
    delta = cluster.put((remote[0], None))
    assert cluster.ends(delta, 2, 1)
    assert cluster.ends(delta, 1, 2)
    assert not cluster.ends(delta, 4, 1)
    # ...a rule that goes: all flows of those it applied to...
    delta = cluster.put(DB)
    assert cluster.ends(delta, 9, 1)
    assert cluster.ends(delta, 9, 3)
    assert not cluster.ends(delta, 9, 8)
    # ...an endpoint that leaves the group: its own.
    delta = cluster.put(workload(3))
    assert cluster.ends(delta, 9, 3)
    assert not cluster.ends(delta, 9, 1)


def test_a_new_group_for_an_endpoint_withdraws_nothing() -> None:
    cluster = Cluster(WEB, DB, workload(1, "db"))
    assert not cluster.put(workload(1, "db", "web")).withdrawals
    # The first policies of an endpoint may end what its profiles allowed.
    bare = Cluster(WEB, workload(2, profiles=("projectcalico-default-allow",)))
    delta = bare.put(workload(2, "web", profiles=("projectcalico-default-allow",)))
    assert bare.ends(delta, 9, 2)


def test_other_kinds_are_ignored() -> None:
    cluster = Cluster()
    assert not cluster.put((ResourceKey("IPPool", "p"), None), (ResourceKey("Node", "n"), None))
