"""Ports become workload endpoints, as the format of upstream's driver has them."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.datamodel.codec import decode, encode
from calico_openstack.datamodel.endpoints import WorkloadEndpoint
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.neutron.translate.endpoint import translate_port
from calico_openstack.neutron.translate.facts import (
    AddressPair,
    Binding,
    FixedIp,
    FloatingIp,
    GroupName,
    PortFacts,
)
from calico_openstack.neutron.translate.labels import sanitise

NETWORK = "60651076-af2a-4c6d-8d64-500b53a4e547"
DEVICE = "b6d8a3c4-9674-4972-9151-11107b60d622"
PORT = "9a7e0868-da7a-419e-a7ad-9d37e11091b8"
GROUP = "75fccd0a-ef3d-44cd-91ec-ef22941f50f5"
NAME = (
    "compute--01-openstack-b6d8a3c4--9674--4972--9151--11107b60d622"
    "-9a7e0868--da7a--419e--a7ad--9d37e11091b8"
)

WEB_SERVER = PortFacts(
    id=PORT,
    network_id=NETWORK,
    mac="fa:16:3e:28:a9:a4",
    device_owner="compute:nova",
    device_id=DEVICE,
    project_id="26778b0f745143c5a9b0c7e1a621bb80",
    network_name="demo-net",
    binding=Binding("compute-01", "tap"),
    fixed_ips=(
        FixedIp("fd5f::d", "subnet6", "fd5f::1"),
        FixedIp("10.28.0.13", "subnet4", "10.28.0.1"),
    ),
    address_pairs=(AddressPair("10.28.0.200", "fa:16:3e:28:a9:a4"),),
    groups=(GroupName(GROUP, "web servers (prod)"),),
    fqdn="vm17.example.org.",
    name='front "end" \u00e9',
    dns_name="vm17",
)


def the_endpoint(port: PortFacts) -> WorkloadEndpoint:
    translated = translate_port(port, "openstack")
    (endpoint,) = translated.endpoints
    return endpoint


def test_every_member_is_where_upstream_has_it() -> None:
    document = json.loads(encode(the_endpoint(WEB_SERVER)))
    assert document == {
        "kind": "WorkloadEndpoint",
        "apiVersion": "projectcalico.org/v3",
        "metadata": {
            "name": NAME,
            "namespace": "openstack",
            "labels": {
                f"sg.projectcalico.org/openstack-{GROUP}": "web_servers__prod",
                "sg-name.projectcalico.org/openstack-web_servers__prod": GROUP,
                "projectcalico.org/namespace": "openstack",
                "projectcalico.org/orchestrator": "openstack",
                "projectcalico.org/openstack-project-id": "26778b0f745143c5a9b0c7e1a621bb80",
                "projectcalico.org/openstack-network-name": "demo-net",
            },
            "annotations": {
                "openstack.projectcalico.org/network-id": NETWORK,
                "openstack.projectcalico.org/fqdn": "vm17.example.org.",
                "openstack.projectcalico.org/port-name": 'front "end" \u00e9',
                "openstack.projectcalico.org/dns-name": "vm17",
            },
        },
        "spec": {
            "orchestrator": "openstack",
            "workload": DEVICE,
            "node": "compute-01",
            "endpoint": PORT,
            "interfaceName": "tap9a7e0868-da",
            "mac": "fa:16:3e:28:a9:a4",
            "ipv4Gateway": "10.28.0.1",
            "ipv6Gateway": "fd5f::1",
            "ipNetworks": ["10.28.0.13/32", "fd5f::d/128", "10.28.0.200/32"],
            "allowedIps": ["10.28.0.200/32"],
        },
    }


def test_lists_that_are_empty_are_written() -> None:
    bare = dataclasses.replace(WEB_SERVER, fixed_ips=(), address_pairs=())
    spec = json.loads(encode(the_endpoint(bare)))["spec"]
    assert spec["ipNetworks"] == []
    assert spec["allowedIps"] == []
    assert "ipv4Gateway" not in spec


def test_a_pair_with_a_prefix_is_never_an_address() -> None:
    port = dataclasses.replace(
        WEB_SERVER,
        address_pairs=(AddressPair("10.9.0.7/24", ""), AddressPair("10.28.0.201/32", "")),
    )
    spec = the_endpoint(port).spec
    assert spec.allowed_ips == ("10.28.0.201/32",)
    assert spec.ip_networks == ("10.28.0.13/32", "fd5f::d/128", "10.28.0.201/32")
    assert spec.allow_spoofed_source_prefixes == ("10.9.0.0/24",)


def test_a_pair_that_repeats_a_fixed_ip_leaves_it_to_dhcp() -> None:
    port = dataclasses.replace(
        WEB_SERVER, address_pairs=(AddressPair("10.28.0.13", "00:00:5e:00:01:01"),)
    )
    assert the_endpoint(port).spec.allowed_ips == ()
    assert the_endpoint(port).spec.ip_networks == ("10.28.0.13/32", "fd5f::d/128")


def test_a_pair_that_is_no_address_is_reported() -> None:
    port = dataclasses.replace(WEB_SERVER, address_pairs=(AddressPair("10.28.0.x", ""),))
    translated = translate_port(port, "openstack")
    assert [problem.field for problem in translated.problems] == ["allowed_address_pairs"]
    assert translated.endpoints[0].spec.allowed_ips == ()


def test_without_port_security_no_group_applies_and_everything_is_allowed() -> None:
    endpoint = the_endpoint(dataclasses.replace(WEB_SERVER, port_security_enabled=False))
    assert endpoint.spec.profiles == ("projectcalico-default-allow",)
    assert not [key for key in endpoint.metadata.labels if key.startswith("sg")]


@pytest.mark.parametrize(
    ("change", "hosts"),
    [
        ({}, ("compute-01",)),
        ({"device_owner": "kuryr:container"}, ("compute-01",)),
        ({"device_owner": "network:dhcp"}, ()),
        ({"device_owner": "trunk:subport"}, ()),
        ({"device_owner": ""}, ()),
        ({"binding": Binding()}, ()),
        ({"binding": Binding("compute-01", "unbound")}, ("compute-01",)),
        ({"binding": Binding("", "tap")}, ()),
        ({"binding": Binding("compute-01", "binding_failed")}, ("compute-01",)),
        ({"admin_state_up": False}, ()),
        ({"network_admin_state_up": False}, ()),
    ],
)
def test_which_ports_have_an_endpoint(change: dict[str, object], hosts: tuple[str, ...]) -> None:
    port = dataclasses.replace(WEB_SERVER, **change)  # type: ignore[arg-type]
    endpoints = translate_port(port, "openstack").endpoints
    assert tuple(endpoint.spec.node for endpoint in endpoints) == hosts


@pytest.mark.parametrize("device", ["", "-vm", "vm-", "a/b", "50%", ":", "é", "a" * 129])
def test_a_device_that_cannot_be_part_of_a_name_is_reported(device: str) -> None:
    translated = translate_port(dataclasses.replace(WEB_SERVER, device_id=device), "openstack")
    assert translated.endpoints == ()
    assert [problem.field for problem in translated.problems] == ["device_id"]


@pytest.mark.parametrize(
    ("name", "length", "label"),
    [
        ("Dan's Project", 63, "Dan_s_Project"),
        ("_-+.934abc%_-", 63, "934abc"),
        ("/calico/v1/policy", 10, "calico_v1"),
        ("web servers (prod)", 63, "web_servers__prod"),
        ("日本語", 63, ""),
    ],
)
def test_names_become_label_values(name: str, length: int, label: str) -> None:
    assert sanitise(name, length) == label


addresses = st.ip_addresses().map(str)
ports = st.builds(
    PortFacts,
    id=st.uuids().map(str),
    network_id=st.uuids().map(str),
    mac=st.binary(min_size=6, max_size=6).map(lambda octets: octets.hex(":")),
    device_owner=st.sampled_from(["compute:nova", "compute:az-1", "kuryr:container"]),
    device_id=st.text(max_size=20) | st.text("-._a1Z/", max_size=9) | st.uuids().map(str),
    project_id=st.none() | st.text(max_size=80),
    network_name=st.none() | st.text(max_size=80),
    port_security_enabled=st.booleans(),
    binding=st.builds(Binding, st.sampled_from(["h1", "compute-2"]), st.just("tap")),
    fixed_ips=st.lists(
        st.builds(FixedIp, addresses, st.uuids().map(str), st.none() | addresses), max_size=4
    ).map(tuple),
    address_pairs=st.lists(
        st.builds(
            AddressPair,
            addresses | st.ip_addresses().map(lambda ip: f"{ip}/24"),
            st.just("fa:16:3e:00:00:01"),
        ),
        max_size=4,
    ).map(tuple),
    groups=st.lists(
        st.builds(GroupName, st.uuids().map(str), st.text(max_size=40)), max_size=3
    ).map(tuple),
)


@given(ports)
def test_what_is_written_is_always_valid(port: PortFacts) -> None:
    """Whatever users call their objects, readers never refuse the endpoint."""
    for endpoint in translate_port(port, "openstack").endpoints:
        name = endpoint.metadata.name
        path = ResourceKey("WorkloadEndpoint", name, "openstack").path
        assert decode(path, encode(endpoint)) == endpoint


@given(ports, st.randoms())
def test_the_order_in_the_database_is_irrelevant(port: PortFacts, random: object) -> None:
    def shuffled(items: tuple[object, ...]) -> tuple[object, ...]:
        result = list(items)
        random.shuffle(result)  # type: ignore[attr-defined]
        return tuple(result)

    other = dataclasses.replace(
        port,
        fixed_ips=shuffled(port.fixed_ips),
        address_pairs=shuffled(port.address_pairs),
        groups=shuffled(port.groups),
    )
    assert translate_port(other, "ns").endpoints == translate_port(port, "ns").endpoints


def test_floating_ips_are_translations_of_own_addresses() -> None:
    own = WEB_SERVER.fixed_ips[0].address
    floating = (
        FloatingIp(own, "198.51.100.9"),
        FloatingIp(own, "198.51.100.10"),
        FloatingIp("192.0.2.99", "198.51.100.11"),
    )
    translated = translate_port(dataclasses.replace(WEB_SERVER, floating_ips=floating), "openstack")
    (endpoint,) = translated.endpoints
    assert json.loads(encode(endpoint))["spec"]["ipNATs"] == [
        {"internalIP": own, "externalIP": "198.51.100.10"},
        {"internalIP": own, "externalIP": "198.51.100.9"},
    ]
    (problem,) = translated.problems
    assert problem.field == "floating_ips"
