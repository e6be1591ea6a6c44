"""The networks of the cluster: which pools count, and by which addresses hosts are known."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.nodes import Node, NodeAddress, NodeBgpSpec, NodeSpec
from calico_openstack.datamodel.pools import IPPool, IPPoolSpec
from calico_openstack.felix.calc.networks import ClusterNetworks, NetworkTable


def networks_of(**pools: IPPoolSpec) -> ClusterNetworks:
    table = NetworkTable()
    for name, spec in pools.items():
        table.update_pool(ResourceKey("IPPool", name), IPPool(spec=spec))
    return table.flush(ClusterNetworks())


def test_of_pools_with_one_network_the_lowest_name_counts() -> None:
    plain = IPPoolSpec(cidr="10.65.0.0/16")
    hidden = IPPoolSpec(cidr="10.65.0.0/16", nat_outgoing=True)
    assert networks_of(b=hidden, a=plain).masqueraded == ()
    found = networks_of(a=hidden, b=plain)
    network = ip_network("10.65.0.0/16")
    assert found.masqueraded == found.pools
    assert found.pools == ((network[0].packed, network[-1].packed),)


def test_the_other_pool_counts_when_the_first_is_gone() -> None:
    table = NetworkTable()
    key = ResourceKey("IPPool", "a")
    table.update_pool(key, IPPool(spec=IPPoolSpec(cidr="10.65.0.0/16")))
    hidden = IPPoolSpec(cidr="10.65.0.0/16", nat_outgoing=True)
    table.update_pool(ResourceKey("IPPool", "b"), IPPool(spec=hidden))
    before = table.flush(ClusterNetworks())
    assert not before.masqueraded
    table.update_pool(key, None)
    assert table.flush(before).masqueraded


@pytest.mark.parametrize(
    ("spec", "addresses"),
    [
        (NodeSpec(bgp=NodeBgpSpec(ipv4_address="192.0.2.10/24")), {"192.0.2.10"}),
        # Without its network an address of BGP does not count.
        (NodeSpec(bgp=NodeBgpSpec(ipv4_address="192.0.2.10")), set()),
        (
            NodeSpec(
                bgp=NodeBgpSpec(ipv4_address="192.0.2.10/24"),
                addresses=(
                    NodeAddress(address="192.0.2.11", type="InternalIP"),
                    NodeAddress(address="2001:db8::2", type="ExternalIP"),
                    NodeAddress(address="2001:db8::1", type="InternalIP"),
                    NodeAddress(address="2001:db8::3", type="InternalIP"),
                ),
            ),
            {"192.0.2.10", "2001:db8::1"},
        ),
        (
            NodeSpec(addresses=(NodeAddress(address="192.0.2.11/24", type="ExternalIP"),)),
            {"192.0.2.11"},
        ),
        (NodeSpec(addresses=(NodeAddress(address="192.0.2.11", type="CalicoNodeIP"),)), set()),
        (NodeSpec(), set()),
    ],
)
def test_addresses_of_hosts(spec: NodeSpec, addresses: set[str]) -> None:
    table = NetworkTable()
    table.update_node(ResourceKey("Node", "n"), Node(spec=spec))
    wanted = frozenset(ip_address(each).packed for each in addresses)
    assert table.flush(ClusterNetworks()).hosts == wanted
