"""The plan of the lab's network, and the names of its parts."""

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.lab.settings import Lab, SettingsError
from calico_openstack.lab.topology import (
    CLIENT4,
    CLIENT6,
    FABRIC4,
    FABRIC6,
    MAX_HOSTS,
    Role,
    plan,
    setups,
)

HOSTS = st.integers(min_value=1, max_value=MAX_HOSTS)
LINK_NAME_LIMIT = 15


@given(HOSTS)
def test_addresses_are_unique_and_in_their_networks(count: int) -> None:
    topology = plan(count)
    assert len(topology.compute) == count
    for networks in ((FABRIC4, CLIENT4), (FABRIC6, CLIENT6)):
        version = ip_network(networks[0]).version
        addresses = [h.ipv4 if version == 4 else h.ipv6 for h in topology.hosts]
        assert len(set(addresses)) == len(addresses)
        for host, address in zip(topology.hosts, addresses, strict=True):
            network = networks[1] if host.role is Role.CLIENT else networks[0]
            assert ip_address(address) in ip_network(network)


@given(HOSTS)
def test_every_link_is_made_once_and_has_a_name_that_fits(count: int) -> None:
    topology = plan(count)
    router, *leaves = setups(topology, "x-")
    made = [line.split() for line in router.commands if " type veth " in line]
    assert {words[-1] for words in made} == {f"x-{leaf.host}" for leaf in leaves}
    names = [words[2] for words in made]
    assert len(set(names)) == len(names) == len(leaves)
    assert all(len(name) <= LINK_NAME_LIMIT for name in names)


@pytest.mark.parametrize("count", [0, -1, MAX_HOSTS + 1])
def test_an_impossible_number_of_hosts_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="compute hosts"):
        plan(count)


def test_only_routers_forward() -> None:
    forwarding = {s.host for s in setups(plan(2), "x-") if "net.ipv4.ip_forward" in s.sysctls}
    assert forwarding == {"tor", "compute-1", "compute-2"}


@pytest.mark.parametrize("name", ["", "a-b", "A", "1a", "a" * 13, "a/b", "ä"])
def test_a_name_that_could_confuse_is_refused(name: str) -> None:
    with pytest.raises(SettingsError):
        Lab.named(name)


def test_a_lab_owns_its_namespaces_and_no_others() -> None:
    lab, other = Lab.named("calico"), Lab.named("calico2")
    own = [lab.namespace(host.name) for host in plan(3).hosts] + [lab.workload_namespace("web-1")]
    assert all(lab.owns_namespace(name) for name in own)
    assert not any(other.owns_namespace(name) for name in own)
    for foreign in ("calico", "calico-", "calico-other", "calico-compute-x", "calico-torx"):
        assert not lab.owns_namespace(foreign)


def test_the_environment_names_a_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CALICO_LAB", "second")
    monkeypatch.setenv("CALICO_LAB_STATE", "/somewhere")
    assert Lab.from_environment().state == Path("/somewhere/second")
