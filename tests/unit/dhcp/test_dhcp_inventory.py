"""The inventory: order plays no role, and what changed is known."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.dhcp.desired import plan_network
from calico_openstack.dhcp.inventory import Inventory, Link
from calico_openstack.dhcp.model import Mode, Settings
from tests.unit.dhcp.examples import NET, V4, V6, port, subnet

OTHER = "22222222-bbbb-4000-8000-000000000002"

Step = Callable[[Inventory], None]


def set_port(number: int, *addresses: str, network_id: str = NET) -> Step:
    made = port(number, *addresses, network_id=network_id) if addresses else None
    return lambda inventory: inventory.set_port(f"/endpoint/{number:04}", made)


def set_link(number: int, mtu: int | None) -> Step:
    name = f"tap{number}"
    return lambda inventory: inventory.set_link(name, None if mtu is None else Link(name, mtu))


def set_subnet(subnet_id: str, cidr: str = "", network_id: str = NET) -> Step:
    mode = Mode.DHCPV6_STATEFUL if ":" in cidr else Mode.DHCPV4
    made = subnet(subnet_id, cidr, network_id=network_id, mode=mode) if cidr else None
    return lambda inventory: inventory.set_subnet(subnet_id, made)


def plans(inventory: Inventory) -> dict[str, object]:
    every = {NET, OTHER, "calico"}
    return {each: plan_network(inventory.network(each), Settings()) for each in every}


def test_a_port_waits_for_its_interface_and_comes_back_with_it() -> None:
    inventory = Inventory()
    inventory.set_subnet("v4", V4)
    inventory.set_port("/endpoint/0001", port(1, "10.65.0.11"))
    assert inventory.take_dirty() == {NET}
    assert inventory.network(NET).ports == ()

    inventory.set_link("tap1", Link("tap1", 1500))
    assert inventory.take_dirty() == {NET}
    assert inventory.network(NET).mtus == {"tap1": 1500}

    inventory.set_link("tap2", Link("tap2", 1500))
    assert inventory.take_dirty() == set()

    inventory.set_links({})
    assert inventory.take_dirty() == {NET}
    assert inventory.network(NET).ports == ()


def test_the_same_again_changes_nothing() -> None:
    inventory = Inventory()
    for _ in range(2):
        inventory.take_dirty()
        inventory.set_subnet("v4", V4)
        inventory.set_port("/endpoint/0001", port(1, "10.65.0.11"))
        inventory.set_link("tap1", Link("tap1", 1500))

    assert inventory.take_dirty() == set()


def test_a_port_without_network_is_where_its_subnet_is() -> None:
    inventory = Inventory()
    inventory.set_port("/endpoint/0001", port(1, "fd65::11", network_id=""))
    inventory.set_link("tap1", Link("tap1", 1500))
    assert inventory.networks() == {"calico"}

    inventory.take_dirty()
    inventory.set_subnet("v6", V6)
    assert inventory.networks() == {NET}
    assert inventory.take_dirty() == {"calico", NET}

    inventory.set_subnet("v6", None)
    assert inventory.networks() == {"calico"}


FINAL: list[Step] = [
    set_port(1, "10.65.0.11", "fd65::11"),
    set_port(2, "10.66.0.12", network_id=OTHER),
    set_port(3, "10.65.0.13", network_id=""),
    set_port(4),
    set_link(1, 1500),
    set_link(2, 1400),
    set_link(3, 1500),
    set_link(4, None),
    set_subnet("a", "10.65.0.0/24"),
    set_subnet("b", "fd65::/64"),
    set_subnet("c", "10.66.0.0/24", OTHER),
    set_subnet("d"),
]
NOISE: list[Step] = [
    set_port(1, "10.66.0.11", network_id=OTHER),
    set_port(1),
    set_port(2, "10.65.0.99"),
    set_port(3, "10.66.0.13", network_id=""),
    set_port(4, "10.65.0.14"),
    set_link(1, None),
    set_link(1, 9000),
    set_link(4, 1500),
    set_subnet("a", "10.65.0.0/25"),
    set_subnet("a"),
    set_subnet("c", "10.66.0.0/24", NET),
    set_subnet("d", "10.0.0.0/8"),
]


@given(st.lists(st.sampled_from(NOISE)), st.permutations(FINAL))
def test_history_plays_no_role(noise: list[Step], final: list[Step]) -> None:
    fresh, other = Inventory(), Inventory()
    for step in FINAL:
        step(fresh)
    for step in (*noise, *final):
        step(other)

    assert plans(other) == plans(fresh)


@given(st.lists(st.lists(st.sampled_from(FINAL + NOISE)), max_size=6))
def test_what_is_not_dirty_has_not_changed(bursts: list[list[Step]]) -> None:
    inventory = Inventory()
    before = plans(inventory)
    for burst in bursts:
        for step in burst:
            step(inventory)
        after, dirty = plans(inventory), inventory.take_dirty()
        assert {each for each in after if after[each] != before[each]} <= dirty
        before = after
