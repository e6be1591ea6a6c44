"""Decoding and encoding: what is read, what is written, and that nothing raises."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calico_openstack.datamodel import (
    ANY_ENTITY,
    DEFAULT_ALLOW_PROFILE,
    AgentStatus,
    DhcpSubnet,
    DhcpSubnetKey,
    EndpointStatus,
    EndpointStatusKey,
    FelixStatusKey,
    GlobalNetworkPolicy,
    HostRoute,
    Invalid,
    NetworkPolicy,
    Resource,
    ResourceKey,
    Rule,
    WorkloadEndpoint,
    as_read,
    as_written,
    decode,
    encode,
)
from calico_openstack.datamodel.kinds import KINDS, RESOURCE_TYPES
from tests.unit.datamodel.examples import SPECS, document_of, path_of
from tests.unit.datamodel.shapes import json_of, json_values

ALL_KINDS = sorted(SPECS)
SUBNET_PATH = DhcpSubnetKey("no-region", "s").path
STATUS_PATH = FelixStatusKey("no-region", "h").path
ENDPOINT_STATUS_PATH = EndpointStatusKey("no-region", "h", "openstack", "openstack/w", "e").path
PATHS = [*map(path_of, ALL_KINDS), SUBNET_PATH, STATUS_PATH, ENDPOINT_STATUS_PATH]


def read(kind: str, document: dict[str, Any]) -> Any:
    return decode(path_of(kind), json.dumps(document).encode())


def test_every_kind_has_an_example() -> None:
    assert {cls.KIND for cls in RESOURCE_TYPES} == set(ALL_KINDS)
    for cls in RESOURCE_TYPES:
        assert KINDS[cls.KIND] == (cls.KIND, cls.PLURAL, cls.NAMESPACED, cls)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_examples_are_read_and_written_without_loss(kind: str) -> None:
    document = document_of(kind)
    resource = read(kind, document)
    assert isinstance(resource, Resource), str(resource)
    assert kind == resource.KIND
    assert decode(path_of(kind), encode(resource)) == resource
    written = json.loads(encode(resource))
    assert list(written) == ["kind", "apiVersion", "metadata", "spec"]
    written["metadata"].get("labels", {}).pop("projectcalico.org/tier", None)
    assert without_empty(written) == without_empty(document)


def without_empty(value: Any) -> Any:
    """Leave out what may be written or not: empty lists and maps."""
    if isinstance(value, dict):
        return {k: without_empty(v) for k, v in value.items() if v not in ([], {})}
    if isinstance(value, list):
        return [without_empty(v) for v in value]
    return value


@pytest.mark.parametrize("cls", RESOURCE_TYPES, ids=lambda cls: cls.KIND)
@given(data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_has_the_right_types_survives(cls: type[Resource], data: st.DataObject) -> None:
    shape = json_of(msgspec.inspect.type_info(cls))
    resource = msgspec.convert(data.draw(shape), cls)
    path = path_of(cls.KIND)
    found = decode(path, encode(resource))
    back = found.resource if isinstance(found, Invalid) else found
    assert back is not None
    assert isinstance(back, cls)
    metadata = msgspec.structs.replace(
        resource.metadata,
        name=back.metadata.name,
        namespace=back.metadata.namespace,
        annotations=back.metadata.annotations,
        labels=back.metadata.labels,
        resource_version="",
        self_link="",
    )
    wanted = msgspec.structs.replace(
        resource, kind=cls.KIND, api_version="projectcalico.org/v3", metadata=metadata
    )
    assert back == wanted
    assert back.metadata.labels.items() >= resource.metadata.labels.items()


@pytest.mark.parametrize("path", PATHS)
@given(value=st.one_of(st.binary(max_size=60), json_values.map(lambda v: json.dumps(v).encode())))
@settings(max_examples=30)
def test_no_bytes_make_decoding_raise(path: str, value: bytes) -> None:
    found = decode(path, value)
    if isinstance(found, Invalid):
        assert found.path == path
        assert found.reasons
        assert len(str(found)) < 2000


@given(st.data())
@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
def test_no_damage_to_a_document_makes_decoding_raise(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(ALL_KINDS))
    document = document_of(kind)
    for _ in range(data.draw(st.integers(1, 3))):
        damage(document, data)
    value = json.dumps(document).encode()
    cut = data.draw(st.integers(0, len(value))) if data.draw(st.booleans()) else len(value)
    found = decode(path_of(kind), value[:cut])
    assert isinstance(found, Invalid | Resource)
    if isinstance(found, Resource):
        assert decode(path_of(kind), encode(found)) == found


def damage(document: Any, data: st.DataObject) -> None:
    """Replace or remove something somewhere below."""
    while True:
        keys = list(document) if isinstance(document, dict) else list(range(len(document)))
        if not keys:
            return
        key = data.draw(st.sampled_from(keys))
        inner = document[key]
        if isinstance(inner, dict | list) and inner and data.draw(st.integers(0, 3)):
            document = inner
            continue
        if data.draw(st.booleans()):
            document[key] = data.draw(json_values)
        else:
            del document[key]
        return


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b"[" * 1_000_000,
        b'{"spec":' * 100_000,
        b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"metadata":{"managedFields":' + b"[" * 10_000 + b"]" * 10_000 + b"}}",
        b'{"metadata":{"labels":{"a":null}},"spec":{"x":' + b"[" * 900 + b"]" * 900 + b"}}",
        b'{"metadata":{"labels":{"a":"\\ud800"}}}',
        b'{"metadata":{"name":"' + b"x" * 1_000_000 + b'"}}',
        b'{"metadata":{"generation":' + b"9" * 100_000 + b"}}",
        b'{"metadata":{"generation":1e999}}',
        b"9" * 100_000,
    ],
    ids=lambda value: f"{value[:12]!r}-{len(value)}",
)
@pytest.mark.parametrize("path", PATHS)
def test_hostile_bytes(path: str, value: bytes) -> None:
    found = decode(path, value)
    if not isinstance(found, Invalid):
        # Only a null that stands for nothing, or what is ignored, may be left standing.
        assert "felixconfigurations" in path or b'"x":' in value or b"managedFields" in value
        return
    assert len(str(found)) < 1500
    assert str(found).isprintable()


def test_names_of_a_million_characters() -> None:
    path = path_of("Tier") + "x" * 1_000_000
    found = decode(path, b"{}")
    assert isinstance(found, Invalid)
    assert found.kind == "Tier"
    assert len(found.name) > 1_000_000
    assert len(str(found)) < 600


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("/calico/ipam/v2/config", b"{}"),
        (path_of("Tier") + "/deeper", b"{}"),
        ("/calico/resources/v3/projectcalico.org/ipamconfigurations/default", b"garbage"),
        ("/calico/resources/v3/projectcalico.org/blockaffinities/n", b"{}"),
        ("/calico/resources/v3/projectcalico.org/profiles/projectcalico-default-allow", b"{}"),
    ],
)
def test_what_is_not_for_us_is_skipped(path: str, value: bytes) -> None:
    assert decode(path, value) is None


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_null_stands_for_absence(kind: str) -> None:
    document = document_of(kind)
    document["metadata"]["creationTimestamp"] = None
    plain = read(kind, document)
    document["metadata"] |= {"finalizers": None, "selfLink": None, "generation": None}
    assert read(kind, document) == plain
    assert isinstance(plain, Resource)
    assert plain.metadata.creation_timestamp is None


def test_null_inside_the_spec_stands_for_absence() -> None:
    document = document_of("NetworkPolicy")
    document["spec"] |= {"egress": None, "tier": None, "order": None, "types": None}
    document["spec"]["ingress"][0] |= {"source": None, "icmp": None}
    policy = read("NetworkPolicy", document)
    assert isinstance(policy, NetworkPolicy)
    assert policy.spec.egress == ()
    assert policy.spec.ingress[0].source is ANY_ENTITY


def test_unknown_members_are_ignored() -> None:
    document = document_of("Tier")
    plain = read("Tier", document)
    document["new"] = document["spec"]["new"] = document["metadata"]["new"] = {"deep": [1]}
    assert read("Tier", document) == plain


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("kind", "Profile"),
        ("apiVersion", "projectcalico.org/v4"),
        ("metadata.name", "other"),
        ("metadata.namespace", "other"),
    ],
)
def test_what_contradicts_the_key_is_invalid(where: str, value: str) -> None:
    document = document_of("NetworkPolicy")
    target = document
    *outer, last = where.split(".")
    for name in outer:
        target = target[name]
    target[last] = value
    found = read("NetworkPolicy", document)
    assert isinstance(found, Invalid)
    assert [reason.field for reason in found.reasons] == [where]
    assert value in found.reasons[0].reason


def test_the_key_fills_in_what_the_value_leaves_out() -> None:
    found = decode(path_of("NetworkPolicy"), b"{}")
    assert isinstance(found, NetworkPolicy)
    assert found.kind == "NetworkPolicy"
    assert (found.metadata.name, found.metadata.namespace) == ("example", "openstack")


def test_stored_versions_are_not_trusted_nor_written() -> None:
    document = document_of("Tier")
    document["metadata"] |= {"resourceVersion": "7", "selfLink": "/x"}
    tier = read("Tier", document)
    assert tier.metadata.resource_version == tier.metadata.self_link == ""
    metadata = msgspec.structs.replace(tier.metadata, resource_version="8", self_link="/y")
    stored = encode(msgspec.structs.replace(tier, metadata=metadata))
    assert b"resourceVersion" not in stored
    assert b"selfLink" not in stored


def test_errors_name_the_member() -> None:
    document = document_of("WorkloadEndpoint")
    document["spec"]["mac"] = 5
    found = read("WorkloadEndpoint", document)
    assert isinstance(found, Invalid)
    assert found.key == ResourceKey("WorkloadEndpoint", document["metadata"]["name"], "openstack")
    assert found.reasons[0].field == "spec.mac"
    assert found.reasons[0].reason == "Expected str, got int"
    assert found.resource is None


def test_an_invalid_resource_carries_what_could_be_read() -> None:
    document = document_of("NetworkPolicy")
    document["spec"]["ingress"][0]["action"] = "Permit"
    found = read("NetworkPolicy", document)
    assert isinstance(found, Invalid)
    assert isinstance(found.resource, NetworkPolicy)
    assert found.resource.spec.selector == "role == 'web'"


@pytest.mark.parametrize("kind", ["NetworkPolicy", "GlobalNetworkPolicy"])
def test_an_unreadable_policy_still_says_what_it_selects(kind: str) -> None:
    document = document_of(kind)
    document["spec"] |= {"ingress": "all", "order": "first", "tier": "t"}
    found = read(kind, document)
    assert isinstance(found, Invalid)
    policy = found.resource
    assert isinstance(policy, NetworkPolicy | GlobalNetworkPolicy)
    assert (policy.metadata.name, policy.spec.selector) == ("example", "role == 'web'")
    assert (policy.spec.tier, policy.spec.order, policy.spec.ingress) == ("t", None, ())


@pytest.mark.parametrize(
    ("spec", "untracked", "pre_dnat", "forward"),
    [
        ({"doNotTrack": True, "applyOnForward": True}, True, False, True),
        ({"preDNAT": True, "applyOnForward": True}, False, True, True),
        ({"doNotTrack": "true", "applyOnForward": "true"}, False, False, True),
        ({"doNotTrack": None, "applyOnForward": None}, False, False, False),
        ({}, False, False, False),
    ],
)
def test_an_unreadable_policy_still_says_which_packets_it_is_for(
    spec: dict[str, Any], untracked: bool, pre_dnat: bool, forward: bool
) -> None:
    found = read("GlobalNetworkPolicy", {"spec": {"selector": "a == 'b'", "ingress": 5, **spec}})
    assert isinstance(found, Invalid)
    assert isinstance(found.resource, GlobalNetworkPolicy)
    policy = found.resource.spec
    assert (policy.do_not_track, policy.pre_dnat) == (untracked, pre_dnat)
    assert policy.apply_on_forward == forward


@pytest.mark.parametrize("number", ["1e999", "9" * 400, "-1e999"])
def test_a_number_that_is_too_large_takes_nothing_else_with_it(number: str) -> None:
    head = b'{"spec":{"selector":"all()","types":["Ingress"],"order":'
    found = decode(path_of("GlobalNetworkPolicy"), head + number.encode() + b"}}")
    assert isinstance(found, Invalid)
    assert [(each.field, each.reason) for each in found.reasons] == [
        ("spec.order", "Number out of range")
    ]
    assert isinstance(found.resource, GlobalNetworkPolicy)
    assert found.resource.spec.types == ("Ingress",)


def test_half_characters_are_not_salvaged() -> None:
    spec = {"selector": "all()", "tier": "\ud800", "ingress": 5}
    found = read("GlobalNetworkPolicy", {"spec": spec})
    assert isinstance(found, Invalid)
    assert found.resource is None


@pytest.mark.parametrize("selector", [None, "", " ", 5, ["a"]])
def test_an_unreadable_policy_that_does_not_select_is_nobodys(selector: Any) -> None:
    found = read("NetworkPolicy", {"spec": {"ingress": "all", "selector": selector}})
    assert isinstance(found, Invalid)
    assert found.resource is None


def test_members_that_are_always_written() -> None:
    endpoint = WorkloadEndpoint()
    spec = json.loads(encode(endpoint))["spec"]
    assert spec == {"ipNetworks": [], "allowedIps": []}
    assert json.loads(encode(NetworkPolicy()))["spec"] == {"ingress": [], "egress": []}
    port = {"name": "http", "protocol": "TCP", "port": 80}
    document = document_of("WorkloadEndpoint")
    document["spec"]["ports"] = [port]
    written = json.loads(encode(read("WorkloadEndpoint", document)))
    assert written["spec"]["ports"] == [{**port, "hostPort": 0, "hostIP": ""}]


def test_empty_entities_are_read_and_not_written() -> None:
    document = document_of("Profile")
    document["spec"] = {"ingress": [{"action": "Allow", "source": {}, "destination": {}}]}
    profile = read("Profile", document)
    assert profile.spec.ingress == (Rule(action="Allow"),)
    assert json.loads(encode(profile))["spec"] == {"ingress": [{"action": "Allow"}]}


@pytest.mark.parametrize(
    ("name", "tier", "annotation", "seen"),
    [
        ("p", "", None, "p"),
        ("default.p", "", None, "p"),
        ("default.p", "default", None, "p"),
        ("default.default.p", "default", None, "default.p"),
        ("other.p", "other", None, "other.p"),
        ("default.p", "other", None, "default.p"),
        ("ossg.default.1234", "", None, "ossg.default.1234"),
        ("default.p", "default", '{"name":"default.p"}', "default.p"),
        ("p", "other", '{"name":"other.p"}', "other.p"),
        ("default.p", "default", "garbage", "default.p"),
        ("p", "default", "[" * 100_000, "p"),
    ],
)
@pytest.mark.parametrize("kind", ["NetworkPolicy", "GlobalNetworkPolicy"])
def test_policy_names(kind: str, name: str, tier: str, annotation: str | None, seen: str) -> None:
    document = document_of(kind)
    document["metadata"]["name"] = name
    document["spec"]["tier"] = tier
    if annotation is not None:
        document["metadata"]["annotations"]["projectcalico.org/metadata"] = annotation
    path = path_of(kind).removesuffix("example") + name
    policy = decode(path, json.dumps(document).encode())
    assert isinstance(policy, Resource)
    assert policy.metadata.name == seen
    assert policy.metadata.annotations == {"e": "f"}
    labels = policy.metadata.labels
    assert labels.get("projectcalico.org/tier") == ("default" if tier != "other" else None)


@pytest.mark.parametrize(
    ("ingress", "egress", "types"),
    [
        (False, False, ["Ingress"]),
        (True, False, ["Ingress"]),
        (False, True, ["Egress"]),
        (True, True, ["Ingress", "Egress"]),
    ],
)
def test_policies_are_written_with_name_tier_and_types(
    ingress: bool, egress: bool, types: list[str]
) -> None:
    document = document_of("NetworkPolicy")
    document["spec"] = {
        "tier": "t",
        "ingress": [{"action": "Allow"}] * ingress,
        "egress": [{"action": "Allow"}] * egress,
    }
    policy = read("NetworkPolicy", document)
    stored = json.loads(encode(as_written(policy)))
    assert stored["spec"]["types"] == types
    assert stored["metadata"]["labels"]["projectcalico.org/tier"] == "t"
    assert stored["metadata"]["annotations"]["projectcalico.org/metadata"] == '{"name":"example"}'


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_what_is_added_for_writing_does_not_change_what_is_read(kind: str) -> None:
    resource = read(kind, document_of(kind))
    again = decode(path_of(kind), encode(as_written(resource)))
    assert isinstance(again, Resource)
    assert as_written(again) == as_written(resource)
    assert as_read(again) == again


def test_endpoints_are_written_with_namespace_and_orchestrator() -> None:
    endpoint = as_written(read("WorkloadEndpoint", document_of("WorkloadEndpoint")))
    assert endpoint.metadata.labels == {
        "a.b/c": "d",
        "projectcalico.org/namespace": "openstack",
        "projectcalico.org/orchestrator": "openstack",
    }


def test_the_default_allow_profile_allows_both_ways() -> None:
    assert DEFAULT_ALLOW_PROFILE.metadata.name == "projectcalico-default-allow"
    spec = DEFAULT_ALLOW_PROFILE.spec
    assert spec.ingress == spec.egress == (Rule(action="Allow"),)


@pytest.mark.parametrize(
    ("subnet", "stored"),
    [
        (
            DhcpSubnet(
                network_id="60651076-af2a-4c6d-8d64-500b53a4e547",
                cidr="10.65.0.0/24",
                host_routes=(HostRoute(destination="11.11.0.0/16", nexthop="10.65.0.1"),),
                gateway_ip="10.65.0.1",
                dns_servers=("8.8.8.8",),
            ),
            b'{"network_id": "60651076-af2a-4c6d-8d64-500b53a4e547", "cidr": "10.65.0.0/24", '
            b'"host_routes": [{"destination": "11.11.0.0/16", "nexthop": "10.65.0.1"}], '
            b'"gateway_ip": "10.65.0.1", "dns_servers": ["8.8.8.8"]}',
        ),
        (
            DhcpSubnet(network_id="n", cidr="10.65.0.0/24", gateway_ip=None),
            b'{"network_id": "n", "cidr": "10.65.0.0/24", "host_routes": [], "gateway_ip": null}',
        ),
        (
            DhcpSubnet(
                network_id="n",
                cidr="fd5f::/64",
                gateway_ip="fd5f::1",
                ipv6_ra_mode="slaac",
                ipv6_address_mode="slaac",
            ),
            b'{"network_id": "n", "cidr": "fd5f::/64", "host_routes": [], "gateway_ip": '
            b'"fd5f::1", "ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}',
        ),
    ],
)
def test_subnets_are_written_byte_for_byte(subnet: DhcpSubnet, stored: bytes) -> None:
    assert encode(subnet) == stored
    assert decode(SUBNET_PATH, stored) == subnet


def test_a_single_ipv6_mode_is_not_written() -> None:
    subnet = DhcpSubnet(cidr="fd5f::/64", gateway_ip=None, ipv6_ra_mode="slaac")
    assert b"ipv6" not in encode(subnet)


def test_status_is_written_byte_for_byte() -> None:
    status = AgentStatus(time="2026-08-22T09:30:00Z", uptime=123.45, first_update=False)
    stored = b'{"time":"2026-08-22T09:30:00Z","uptime":123.45,"first_update":false}'
    assert encode(status) == stored
    assert decode(STATUS_PATH, stored) == status
    assert decode(STATUS_PATH, stored.replace(b"123.45", b"1")) == msgspec.structs.replace(
        status, uptime=1.0
    )
    assert encode(EndpointStatus(status="up")) == b'{"status":"up"}'
    assert decode(ENDPOINT_STATUS_PATH, b'{"status":"up"}') == EndpointStatus(status="up")
    with_addresses = EndpointStatus(status="up", floating_ips=("192.0.2.1",))
    assert encode(with_addresses) == b'{"status":"up","floatingIPs":["192.0.2.1"]}'
    assert decode(ENDPOINT_STATUS_PATH, encode(with_addresses)) == with_addresses


def test_examples_are_not_shared() -> None:
    before = deepcopy(SPECS)
    document_of("Tier")["spec"]["order"] = 0
    assert before == SPECS


@pytest.mark.parametrize(
    ("stored", "named", "tier", "fits"),
    [
        ("p", "default.p", "", True),
        ("default.p", "p", "default", True),
        ("default.p", "p", "other", False),
        ("p", "q", "", False),
    ],
)
def test_a_policy_may_be_stored_with_its_tier_before_its_name(
    stored: str, named: str, tier: str, fits: bool
) -> None:
    document = {"metadata": {"name": named}, "spec": {"tier": tier, "selector": "all()"}}
    path = path_of("GlobalNetworkPolicy").removesuffix("example") + stored
    found = decode(path, json.dumps(document).encode())
    assert isinstance(found, Invalid) is not fits
