"""Tables and the names of kinds."""

from __future__ import annotations

import pytest
import yaml

from calico_openstack.calicoctl.documents import value_in
from calico_openstack.calicoctl.kinds import UnknownKindError, kind_named, presentation_of
from calico_openstack.calicoctl.output import as_json, as_row, as_yaml, exported, table
from calico_openstack.datamodel import (
    Metadata,
    NetworkPolicy,
    Tier,
    TierSpec,
    WorkloadEndpoint,
    WorkloadEndpointSpec,
)
from calico_openstack.datamodel.kinds import RESOURCE_TYPES


@pytest.mark.parametrize(
    ("text", "kind"),
    [("np", "NetworkPolicy"), ("POLICIES", "NetworkPolicy"), ("gnps", "GlobalNetworkPolicy")]
    + [(cls.KIND, cls.KIND) for cls in RESOURCE_TYPES],
)
def test_kinds_are_found_by_alias_and_in_any_case(text: str, kind: str) -> None:
    found = kind_named(text)
    assert kind == found.KIND


def test_an_unknown_kind_suggests_the_nearest() -> None:
    with pytest.raises(UnknownKindError, match="did you mean 'node'"):
        kind_named("nod")


def test_a_table_pads_every_cell_and_ends_with_a_blank_line() -> None:
    tier = Tier(metadata=Metadata(name="default"), spec=TierSpec(order=1_000_000.0))
    lines = list(table([as_row(tier)], presentation_of("Tier").columns))
    assert lines == ["NAME      ORDER     ", "default   1000000   ", ""]


def test_an_empty_table_has_its_header() -> None:
    assert list(table([], presentation_of("Tier").columns)) == ["NAME   ORDER   ", ""]


def test_a_long_table_streams_beyond_the_rows_that_fix_its_widths() -> None:
    rows = (as_row(Tier(metadata=Metadata(name=f"t{i}"))) for i in range(1200))
    assert len(list(table(rows, presentation_of("Tier").columns))) == 1202


def test_a_workload_shows_its_addresses() -> None:
    spec = WorkloadEndpointSpec(
        workload="vm", node="host", ip_networks=("10.0.0.1/32", "fd00::1/128"), interface_name="t"
    )
    row = as_row(WorkloadEndpoint(metadata=Metadata(name="n", namespace="openstack"), spec=spec))
    cells = [column.cell(row) for column in presentation_of("WorkloadEndpoint").columns]
    assert cells == ["vm", "host", "10.0.0.1/32,fd00::1/128", "t"]


def test_an_export_is_free_of_what_belongs_to_one_datastore() -> None:
    metadata = Metadata(
        name="p", namespace="n", uid="u", creation_timestamp="t", resource_version="7"
    )
    row = exported(as_row(NetworkPolicy(metadata=metadata)))
    assert row["metadata"] == {"name": "p"}


@pytest.mark.parametrize(
    "text",
    [
        "1967.e2",
        "1.5e3",
        "1e5",
        "-.2",
        "+.09",
        "5",
        "5663:12",
        "a\x85b",
        "a\u2028 b",
        "\x7f",
        "yes",
    ],
)
def test_a_text_is_the_same_text_for_who_reads_it(text: str) -> None:
    value = {"a": text, text: "x"}
    assert value_in(as_yaml(value), "x.yaml") == value
    assert value_in(as_json(value), "x.json") == value
    assert yaml.safe_load(as_yaml(value)) == value


def test_addresses_need_no_quotes() -> None:
    assert as_yaml({"a": "10.0.0.1"}) == "a: 10.0.0.1"
