"""The layers of Felix's configuration: who shadows whom, and what bad values do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.datamodel import (
    ClusterInformation,
    ClusterInformationSpec,
    FelixConfiguration,
    Metadata,
    Node,
    NodeBgpSpec,
    NodeSpec,
)
from calico_openstack.felix.config import (
    FailsafePort,
    FelixSettings,
    Resolution,
    Sources,
    absorbed,
    resolve,
    restart_needed,
)
from calico_openstack.felix.config.resources import Unreadable, parameters_of
from tests.unit.datamodel.shapes import json_values

NODE = Node(metadata=Metadata(name="h", labels={"rack": "r1"}))


def configuration(
    name: str, spec: dict[str, Any], *, created: str = "", annotations: dict[str, str] | None = None
) -> FelixConfiguration:
    metadata = Metadata(name=name, creation_timestamp=created, annotations=annotations or {})
    return FelixConfiguration(metadata=metadata, spec=spec)


def resolved(**sources: Any) -> Resolution:
    return resolve(Sources(**{"host": "h"} | sources))


def test_without_sources_everything_is_at_its_default() -> None:
    result = resolved()
    assert result.settings == FelixSettings(felix_hostname="h")
    assert not result.origins
    assert not result.errors + result.warnings + result.notices


LAYERS: list[tuple[str, dict[str, Any]]] = [
    (
        "FelixConfiguration default",
        {"configurations": [configuration("default", {"healthPort": 1})]},
    ),
    (
        "FelixConfiguration rack",
        {
            "configurations": [
                configuration("rack", {"healthPort": 2, "nodeSelector": "rack == 'r1'"})
            ],
            "node": NODE,
        },
    ),
    ("FelixConfiguration node.h", {"configurations": [configuration("node.h", {"healthPort": 3})]}),
    ("configuration file", {"file": {"HealthPort": "4"}}),
    ("environment", {"environment": {"healthport": "5"}}),
    ("override", {"override": {"HEALTHPORT": "6"}}),
]


@pytest.mark.parametrize("highest", range(len(LAYERS)))
@pytest.mark.parametrize("lowest", range(len(LAYERS)))
def test_higher_layers_shadow_lower_ones(lowest: int, highest: int) -> None:
    if lowest > highest:
        return
    sources: dict[str, Any] = {"configurations": []}
    for _, given_sources in LAYERS[lowest : highest + 1]:
        more = given_sources.get("configurations", [])
        sources |= given_sources | {"configurations": sources["configurations"] + more}
    result = resolved(**sources)
    assert result.settings.health_port == highest + 1
    assert result.origins == {"health_port": LAYERS[highest][0]}


def test_layers_shadow_parameter_by_parameter() -> None:
    result = resolved(
        configurations=[configuration("default", {"interfacePrefix": "tap", "healthPort": 1})],
        file={"HealthPort": "2"},
    )
    assert result.settings.interface_prefixes == ("tap",)
    assert result.settings.health_port == 2


@pytest.mark.parametrize("text", ["", " "])
def test_empty_text_counts_as_unset(text: str) -> None:
    result = resolved(file={"HealthPort": "2"}, environment={"healthport": text})
    assert result.settings.health_port == 2


@pytest.mark.parametrize(
    ("name", "attribute", "zero"),
    [
        ("LogFilePath", "log_file_path", ""),
        ("MetadataAddr", "metadata_addr", ""),
        ("FailsafeInboundHostPorts", "failsafe_inbound_host_ports", ()),
        ("ReportingIntervalSecs", "reporting_interval", 0.0),
        ("HealthEnabled", "health_enabled", False),
        ("LogSeverityScreen", "log_severity_screen", ""),
    ],
)
@pytest.mark.parametrize("none", ["none", "None", " NONE "])
def test_none_stands_for_the_zero_value(name: str, attribute: str, zero: object, none: str) -> None:
    result = resolved(file={name: none})
    assert getattr(result.settings, attribute) == zero
    assert not result.errors + result.warnings


@pytest.mark.parametrize("name", ["InterfacePrefix", "DefaultEndpointToHostAction"])
def test_some_parameters_may_not_be_none(name: str) -> None:
    assert [error.name for error in resolved(file={name: "none"}).errors] == [name]


def test_a_bad_value_gives_the_default_not_the_next_layer() -> None:
    result = resolved(
        configurations=[configuration("default", {"healthPort": 1})], file={"HealthPort": "x"}
    )
    assert result.settings.health_port == 9099
    assert not result.errors
    assert "health_port" not in result.origins
    (warning,) = result.warnings
    assert (warning.source, warning.name) == ("configuration file", "HealthPort")
    assert "9099" in str(warning)


def test_a_bad_value_below_a_good_one_is_only_told() -> None:
    result = resolved(
        configurations=[configuration("default", {"healthPort": "x"})], file={"HealthPort": "2"}
    )
    assert result.settings.health_port == 2
    assert [warning.source for warning in result.warnings] == ["FelixConfiguration default"]


def test_a_bad_value_of_a_fatal_parameter_is_an_error_in_any_layer() -> None:
    result = resolved(
        configurations=[configuration("default", {"metadataPort": 99999})],
        file={"MetadataPort": "80"},
    )
    assert [error.name for error in result.errors] == ["MetadataPort"]


def test_what_is_not_supported_is_an_error() -> None:
    for name, text in (
        ("BPFEnabled", "true"),
        ("DatastoreType", "kubernetes"),
        ("UseInternalDataplaneDriver", "false"),
    ):
        assert [error.name for error in resolved(file={name: text}).errors] == [name]
    assert not resolved(file={"BPFEnabled": "false", "DatastoreType": "etcdv3"}).errors
    assert resolved(configurations=[configuration("default", {"bpfEnabled": True})]).errors


def test_nftables_are_always_used() -> None:
    assert not resolved(file={"NFTablesMode": "auto"}).warnings
    assert resolved(file={"NFTablesMode": "disabled"}).warnings


def test_parameters_without_effect_and_unknown_ones_are_noted_only() -> None:
    result = resolved(file={"UsageReportingEnabled": "true", "IptablesBackend": "?", "Foo": "1"})
    assert result.settings == FelixSettings(felix_hostname="h")
    assert not result.errors + result.warnings
    assert [notice.name for notice in result.notices] == [
        "usagereportingenabled",
        "iptablesbackend",
        "foo",
    ]


def test_parameters_of_upstream_that_change_nothing_are_told() -> None:
    result = resolved(file={"VXLANEnabled": "true", "IpInIpMtu": "0", "RouteSource": "calicoipam"})
    assert [str(each) for each in result.warnings] == [
        "configuration file: VXLANEnabled: has no effect here"
    ]
    # Upstream refuses what it cannot read, and so does this.
    assert resolved(file={"RouteTableRanges": "x"}).errors


def test_connection_parameters_are_local() -> None:
    annotations = {"config.projectcalico.org/EtcdEndpoints": "http://evil:2379"}
    result = resolved(
        configurations=[
            configuration("default", {"etcdEndpoints": "http://evil:2379"}, annotations=annotations)
        ]
    )
    assert result.settings.etcd_endpoints == ""
    assert [warning.name for warning in result.warnings] == ["EtcdEndpoints"]
    assert resolved(file={"EtcdEndpoints": "http://e:1"}).settings.etcd_endpoints == "http://e:1"


@pytest.mark.parametrize(
    ("member", "value", "attribute", "parsed"),
    [
        ("reportingInterval", "1m30s", "reporting_interval", 90.0),
        ("reportingInterval", "250ms", "reporting_interval", 0.25),
        ("reportingInterval", "0s", "reporting_interval", 0.0),
        ("healthEnabled", True, "health_enabled", True),
        ("healthPort", 1234, "health_port", 1234),
        ("interfacePrefix", "cali,tap", "interface_prefixes", ("cali", "tap")),
        ("defaultEndpointToHostAction", "Accept", "default_endpoint_to_host_action", "ACCEPT"),
        ("nftablesMarkMask", 65280, "nftables_mark_mask", 65280),
        ("routeTableRanges", [{"min": 1, "max": 5}], "route_table_ranges", ((1, 5),)),
        (
            "healthTimeoutOverrides",
            [{"name": "X", "timeout": "5s"}],
            "health_timeout_overrides",
            (("X", 5.0),),
        ),
        (
            "failsafeInboundHostPorts",
            [{"protocol": "TCP", "port": 22}, {"protocol": "UDP", "net": "fd00::/8", "port": 68}],
            "failsafe_inbound_host_ports",
            None,
        ),
        ("failsafeInboundHostPorts", [], "failsafe_inbound_host_ports", ()),
        ("reportingTTL", None, "reporting_ttl", 90.0),
    ],
)
def test_values_of_the_datastore(member: str, value: Any, attribute: str, parsed: Any) -> None:
    result = resolved(configurations=[configuration("default", {member: value})])
    assert not result.errors
    assert {each.text for each in result.warnings} <= {"has no effect here"}
    found = getattr(result.settings, attribute)
    if parsed is None:
        assert [port.port for port in found] == [22, 68]
        assert isinstance(found[1], FailsafePort)
        assert str(found[1].network) == "fd00::/8"
    else:
        assert found == parsed


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("reportingInterval", 30),
        ("reportingInterval", "30"),
        ("healthPort", [1, 2]),
        ("healthPort", {"a": [[[]]]}),
        ("healthPort", 1.5),
        ("healthEnabled", "maybe"),
    ],
)
def test_bad_values_of_the_datastore_cost_their_parameter(member: str, value: Any) -> None:
    spec = {member: value, "interfacePrefix": "tap"}
    result = resolved(configurations=[configuration("default", spec)])
    assert result.settings.interface_prefixes == ("tap",)
    assert len(result.warnings) == 1


@given(st.dictionaries(st.sampled_from(["healthPort", "reportingInterval", "x"]), json_values))
def test_no_spec_makes_resolving_raise(spec: dict[str, Any]) -> None:
    assert isinstance(resolved(configurations=[configuration("default", spec)]), Resolution)


def test_names_of_other_spellings_in_the_spec_are_not_known() -> None:
    result = resolved(configurations=[configuration("default", {"reportingTTLSecs": "5"})])
    assert result.settings.reporting_ttl == 90.0
    assert [notice.name for notice in result.notices] == ["spec.reportingTTLSecs"]


def test_annotations_win_over_the_spec_of_their_resource() -> None:
    annotations = {"config.projectcalico.org/healthPORT": "7", "other/HealthPort": "8"}
    lower = configuration("default", {"healthPort": 1}, annotations=annotations)
    assert resolved(configurations=[lower]).settings.health_port == 7
    upper = configuration("node.h", {"healthPort": 2})
    assert resolved(configurations=[lower, upper]).settings.health_port == 2


def test_structures_are_not_shown_in_full() -> None:
    deep: Any = []
    for _ in range(500):
        deep = [deep]
    found = parameters_of(configuration("default", {"healthPort": deep, "logPrefix": {"a": {}}}))
    assert found == {"healthport": Unreadable("a list"), "logprefix": Unreadable("an object")}


def test_the_oldest_matching_configuration_is_chosen() -> None:
    candidates = [
        configuration(
            "b", {"nodeSelector": "all()", "healthPort": 2}, created="2026-01-02T00:00:00Z"
        ),
        configuration(
            "c", {"nodeSelector": "all()", "healthPort": 3}, created="2026-01-01T00:00:00Z"
        ),
        configuration(
            "a", {"nodeSelector": "all()", "healthPort": 4}, created="2026-01-02T00:00:00Z"
        ),
        configuration("d", {"nodeSelector": "rack == 'r2'", "healthPort": 5}),
        configuration("e", {"nodeSelector": "rack =", "healthPort": 6}),
        configuration("f", {"healthPort": 7}),
        configuration("g", {"nodeSelector": 5, "healthPort": 8}),
        configuration("node.other", {"nodeSelector": "all()", "healthPort": 9}),
    ]
    result = resolved(configurations=candidates, node=NODE)
    assert result.settings.health_port == 3
    ignored = " ".join(warning.text for warning in result.warnings)
    assert all(f"FelixConfiguration {name} is ignored" in ignored for name in "abefg")
    assert resolved(configurations=candidates[1:], node=NODE).settings.health_port == 3
    assert (
        resolved(configurations=[candidates[0], candidates[2]], node=NODE).settings.health_port == 4
    )


def test_without_a_node_no_selector_matches() -> None:
    candidate = configuration("a", {"nodeSelector": "all()", "healthPort": 2})
    assert resolved(configurations=[candidate]).settings.health_port == 9099


def test_the_host_may_be_named_by_the_file() -> None:
    configurations = [configuration("node.x", {"healthPort": 2})]
    result = resolved(configurations=configurations, file={"FelixHostname": "x"})
    assert result.settings.felix_hostname == "x"
    assert result.settings.health_port == 2
    assert resolved(configurations=configurations).settings.health_port == 9099


def test_facts_of_cluster_and_node() -> None:
    information = ClusterInformation(
        spec=ClusterInformationSpec(cluster_guid="g", cluster_type="openstack", calico_version="v3")
    )
    node = Node(spec=NodeSpec(bgp=NodeBgpSpec(ipv4_ipip_tunnel_addr="10.0.0.1")))
    settings = resolved(cluster_information=information, node=node).settings
    assert (settings.cluster_guid, settings.cluster_type) == ("g", "openstack")
    assert str(settings.ip_in_ip_tunnel_addr) == "10.0.0.1"
    assert settings.openstack


def test_changes_that_need_a_restart_and_those_that_do_not() -> None:
    before = FelixSettings()
    after = FelixSettings(
        health_port=1, cluster_type="openstack", health_timeout_overrides=(("A", 1.0),)
    )
    assert restart_needed(before, after) == ("HealthPort",)
    assert absorbed(before, after) == ("HealthTimeoutOverrides", "ClusterType")
    assert restart_needed(before, before) == absorbed(before, before) == ()
