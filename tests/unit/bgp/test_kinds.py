"""Communities by what an address is."""

from __future__ import annotations

import pytest

from calico_openstack.bgp.kinds import Kind, kind_communities
from calico_openstack.bgp.render import Rendered, render
from calico_openstack.bgp.stanza import HostOptions
from calico_openstack.bgp.state import StateStore
from calico_openstack.datamodel.resource import Resource
from tests.unit.bgp.birdcheck import fault_of, needs_bird
from tests.unit.bgp.builders import configuration, nodes, subnet

COMMUNITIES = {"communities": "floating=64512:2, fixed=64512:1:9,fixed = 64512:1, service=64512:3"}


def rendered(*resources: Resource, subnets: tuple[str, ...] = ("10.65.0.0/24",)) -> Rendered:
    store = StateStore()
    for resource in (*nodes(2), *resources):
        store.apply(resource.KIND, resource.metadata.name, resource)
    for number, cidr in enumerate(subnets):
        store.apply_subnet(f"no-region/{number}", subnet(cidr))
    return render(store.state(), "n2", {}, HostOptions())


def prepared(text: str, family: int) -> list[str]:
    """Return the lines of the function that gives routes their communities."""
    body = text.partition(f"function calico_prepare{family}()")[2].partition("\n}\n")[0]
    return [line.strip() for line in body.splitlines()]


def test_kinds_may_come_in_any_order_and_more_than_once() -> None:
    found = kind_communities(COMMUNITIES["communities"])
    assert found == {
        Kind.FIXED: ((64512, 1), (64512, 1, 9)),
        Kind.FLOATING: ((64512, 2),),
        Kind.SERVICE: ((64512, 3),),
    }
    assert list(found) == sorted(found)
    assert kind_communities("") == {}


@pytest.mark.parametrize("text", ["fixed", "fixed=", "fixed=1", "fixed=65536:1", "other=1:1"])
def test_what_cannot_be_read_is_reported_and_marks_nothing(text: str) -> None:
    with pytest.raises(ValueError, match="is not of the form"):
        kind_communities(text)
    result = rendered(configuration(annotations={"communities": text}))
    assert [p.resource for p in result.problems] == ["BGPConfiguration default"]
    assert "community.add" not in result.text.replace("bgp_community.add((65535, 0))", "")


def test_each_kind_has_its_own() -> None:
    text = rendered(configuration(annotations=COMMUNITIES)).text
    lines = prepared(text, 4)
    workload = 'source = RTS_INHERIT && (ifname ~ "cali*" || ifname ~ "tap*")'
    assert workload.replace("source = RTS_INHERIT && ", "") in text
    fixed = lines.index(f"if ({workload} && net ~ [ 10.65.0.0/24+ ]) then {{")
    assert lines[fixed + 1 : fixed + 3] == [
        "bgp_community.add((64512, 1));",
        "bgp_large_community.add((64512, 1, 9));",
    ]
    assert f"if ({workload} && !(net ~ [ 10.65.0.0/24+ ])) then {{" in lines
    assert 'if (source = RTS_DEVICE && ifname = "dummy1") then {' in lines
    # Without a subnet of the family no address is known to be fixed.
    assert f"if ({workload}) then {{" in prepared(text, 6)
    assert "bgp_community.add((64512, 1));" not in prepared(text, 6)


def test_a_host_may_have_others() -> None:
    own = configuration("node.n2", {"communities": "floating=1:1"})
    lines = prepared(rendered(configuration(annotations=COMMUNITIES), own).text, 4)
    assert [line for line in lines if "add" in line] == ["bgp_community.add((1, 1));"]


@needs_bird
@pytest.mark.parametrize("subnets", [(), ("10.65.0.0/24", "fd65::/64", "10.66.0.0/16")])
def test_bird_accepts(subnets: tuple[str, ...]) -> None:
    result = rendered(configuration(annotations=COMMUNITIES), subnets=subnets)
    assert fault_of(result.text) == ""
