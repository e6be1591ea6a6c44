"""Keys: building, parsing, escaping and regions."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from calico_openstack.datamodel.keys import (
    MAX_REGION_LENGTH,
    DhcpStatusKey,
    DhcpSubnetKey,
    EndpointStatusKey,
    FelixStatusKey,
    HostEndpointStatusKey,
    Key,
    LastReportedStatusKey,
    ResourceKey,
    endpoint_status_prefix,
    escaped,
    is_region,
    openstack_namespace,
    parse_key,
    parse_workload_endpoint_name,
    prefix_of,
    region_string,
    unescaped,
    workload_endpoint_name,
    workload_endpoint_prefix,
)
from calico_openstack.datamodel.kinds import KINDS

V3 = "/calico/resources/v3/projectcalico.org/"
# A part of an endpoint's name: not empty, no dash at either end.
parts = st.from_regex(r"[a-zA-Z0-9_.]([a-zA-Z0-9_.-]{0,8}[a-zA-Z0-9_.])?", fullmatch=True)


@pytest.mark.parametrize(
    ("key", "path"),
    [
        (ResourceKey("Node", "compute-1"), f"{V3}nodes/compute-1"),
        (ResourceKey("NetworkPolicy", "p", "openstack"), f"{V3}networkpolicies/openstack/p"),
        (ResourceKey("GlobalNetworkPolicy", "p"), f"{V3}globalnetworkpolicies/p"),
        (ResourceKey("BGPConfiguration", "default"), f"{V3}bgpconfigurations/default"),
        (ResourceKey("StagedNetworkPolicy", "p", "n"), f"{V3}stagednetworkpolicies/n/p"),
        (DhcpSubnetKey("no-region", "s1"), "/calico/dhcp/v2/no-region/subnet/s1"),
        (DhcpStatusKey("region-x", "h"), "/calico/dhcp/v2/region-x/host/h/status"),
        (FelixStatusKey("region-x", "h"), "/calico/felix/v2/region-x/host/h/status"),
        (
            LastReportedStatusKey("no-region", "h"),
            "/calico/felix/v2/no-region/host/h/last_reported_status",
        ),
        (
            EndpointStatusKey("no-region", "h", "openstack", "openstack/vm", "port"),
            "/calico/felix/v2/no-region/host/h/workload/openstack/openstack%2fvm/endpoint/port",
        ),
        (HostEndpointStatusKey("h", "eth0"), "/calico/felix/v1/host/h/endpoint/eth0"),
    ],
)
def test_paths(key: Key, path: str) -> None:
    assert key.path == path
    assert parse_key(path) == key


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        V3,
        f"{V3}nodes",
        f"{V3}nodes/",
        f"{V3}nodes/a/b",
        f"{V3}nodez/a",
        f"{V3}networkpolicies/p",
        f"{V3}networkpolicies/n/",
        f"{V3}networkpolicies/n/p/q",
        f"{V3}Nodes/a",
        V3.removeprefix("/") + "nodes/a",
        "/calico/felix/v2/no-region/host/round-trip-check",
        "/calico/felix/v2/no-region/host//status",
        "/calico/felix/v2/no-region/host/h/workload/o/w/endpoint/",
        "/calico/felix/v2//host/h/status",
        "/calico/felix/v1/host/h/status",
        "/calico/dhcp/v1/subnet/s",
        "/calico/dhcp/v2/no-region/subnet/",
        "/calico/dhcp/v2/no-region/subnet/a/b",
        "/calico/ipam/v2/config",
        "/calico/v1/Ready",
    ],
)
def test_other_keys_are_not_for_us(path: str) -> None:
    assert parse_key(path) is None


def test_segments_of_resource_keys_are_unescaped() -> None:
    assert parse_key(f"{V3}nodes/a%2fb%25c") == ResourceKey("Node", "a/b%c")
    assert parse_key(f"{V3}nodes/%252f") == ResourceKey("Node", "%2f")


@given(st.text(max_size=20))
@example("%2f/%25%")
def test_escaping_can_be_undone(segment: str) -> None:
    assert "/" not in escaped(segment)
    assert unescaped(escaped(segment)) == segment


@given(st.text("%25f/a", max_size=12), st.text("%25f/a", min_size=1, max_size=12))
def test_status_keys_survive_any_identifier(workload: str, endpoint: str) -> None:
    key = EndpointStatusKey("no-region", "h", "openstack", f"w{workload}", endpoint)
    assert parse_key(key.path) == key
    assert key.path.startswith(endpoint_status_prefix("no-region", "h"))


def test_prefixes() -> None:
    assert prefix_of("WorkloadEndpoint") == f"{V3}workloadendpoints/"
    assert prefix_of("WorkloadEndpoint", "openstack") == f"{V3}workloadendpoints/openstack/"
    assert all(prefix_of(kind).endswith("/") for kind in KINDS)


def test_workload_endpoint_name_of_the_specification() -> None:
    name = (
        "compute--01-openstack-b6d8a3c4--9674--4972--9151--11107b60d622"
        "-9a7e0868--da7a--419e--a7ad--9d37e11091b8"
    )
    parts = (
        "compute-01",
        "openstack",
        "b6d8a3c4-9674-4972-9151-11107b60d622",
        "9a7e0868-da7a-419e-a7ad-9d37e11091b8",
    )
    assert workload_endpoint_name(*parts) == name
    assert parse_workload_endpoint_name(name) == parts


@given(parts, parts, parts, parts)
def test_workload_endpoint_names_can_be_taken_apart(a: str, b: str, c: str, d: str) -> None:
    name = workload_endpoint_name(a, b, c, d)
    assert parse_workload_endpoint_name(name) == (a, b, c, d)
    if b == "openstack":
        key = ResourceKey("WorkloadEndpoint", name, "openstack")
        assert key.path.startswith(workload_endpoint_prefix("openstack", a))


def test_prefix_of_a_host_is_not_that_of_another() -> None:
    prefix = workload_endpoint_prefix("openstack", "host")
    other = workload_endpoint_name("host-openstack", "openstack", "w", "e")
    assert not ResourceKey("WorkloadEndpoint", other, "openstack").path.startswith(prefix)


@pytest.mark.parametrize(
    "name",
    ["", "a", "a-b-c", "a-b-c-d-e", "a-b-c-", "-b-c-d", "a--b-c-d", "a---b-c-d-e", "a\0-b-c-d"],
)
def test_other_names_are_no_workload_endpoint_names(name: str) -> None:
    assert parse_workload_endpoint_name(name) is None


@pytest.mark.parametrize("part", ["", "-a", "a-"])
def test_parts_that_could_not_be_found_again_are_refused(part: str) -> None:
    with pytest.raises(ValueError, match="cannot be part"):
        workload_endpoint_name("node", "openstack", part, "endpoint")


def test_regions() -> None:
    assert region_string(None) == region_string("") == "no-region"
    assert region_string("north") == "region-north"
    assert openstack_namespace(None) == "openstack"
    assert openstack_namespace("north") == "openstack-region-north"
    assert is_region("a" * MAX_REGION_LENGTH)
    assert len(openstack_namespace("a" * MAX_REGION_LENGTH)) == 63
    for name in ("", "A", "a.b", "-a", "a-", "a" * (MAX_REGION_LENGTH + 1), "a\n"):
        assert not is_region(name)
