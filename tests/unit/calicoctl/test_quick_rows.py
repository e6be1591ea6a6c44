"""Tables of stored endpoints are those of decoded ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.clusters import Cluster
from calico_openstack.calicoctl import output, quick_rows
from calico_openstack.calicoctl.kinds import NAMESPACE_COLUMN, columns_named, presentation_of
from calico_openstack.calicoctl.store import Store
from calico_openstack.datamodel import WorkloadEndpoint
from calico_openstack.etcd import EtcdClient, EtcdConfig
from calico_openstack.etcd.records import KeyValue, Snapshot

COLUMNS = (
    NAMESPACE_COLUMN,
    *presentation_of("WorkloadEndpoint").wide,
    *columns_named(
        WorkloadEndpoint, ["LABELS", "MAC", "ORCHESTRATOR", "PORT", "GROUPS", "NETWORK", "PROJECT"]
    ),
)
ENDPOINT = Cluster(10, 10).endpoint(3)


class Stored(EtcdClient):
    """An etcd that has one endpoint."""

    def __init__(self, value: bytes) -> None:
        super().__init__(EtcdConfig())
        self._value = value

    def iterate_prefix(self, prefix: str, **_options: Any) -> Iterator[Snapshot]:
        assert ENDPOINT.key.startswith(prefix)
        yield Snapshot(1, [KeyValue(ENDPOINT.key, self._value, 1)])


def both(value: bytes) -> tuple[list[str], list[str], list[str], list[str]]:
    """Return the tables by the short and the long way, and what each reported."""
    short: list[str] = []
    long: list[str] = []
    rows = quick_rows.rows(Store(Stored(value), short.append), WorkloadEndpoint, "")
    listed = Store(Stored(value), long.append).listed(WorkloadEndpoint)
    return (
        list(output.table(rows, COLUMNS)),
        list(output.table(map(output.as_row, listed), COLUMNS)),
        short,
        long,
    )


def changed(path: str, value: Any) -> bytes:
    stored = json.loads(ENDPOINT.value)
    *parents, last = path.split(".")
    place = stored
    for name in parents:
        place = place[name]
    place[last] = value
    return json.dumps(stored).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("kind", "WorkloadEndpoint"),
        ("spec.profiles", ["one", "two"]),
        ("spec.ipNATs", [{"internalIP": "10.0.0.3", "externalIP": "192.0.2.1"}]),
        ("spec.ipNetworks", ["10.0.0.3/32", "fd00::3/128"]),
        ("spec.ipNetworks", []),
        ("spec.ipNetworks", ["10.0.0.0/24"]),
        ("spec.profiles", None),
        ("spec.mac", "nonsense"),
        ("spec.node", "elsewhere"),
        ("spec.new", 5),
        ("metadata.labels", {"role": "web"}),
        ("metadata.labels", {"not a label": "x"}),
        ("metadata.name", "other"),
    ],
)
def test_tables_and_reports_are_those_of_the_long_way(path: str, value: Any) -> None:
    short, long, short_reports, long_reports = both(changed(path, value))
    assert short == long
    assert short_reports == long_reports


@given(st.integers(0, len(ENDPOINT.value) - 1), st.integers(0, 255))
def test_so_they_are_whatever_is_damaged(at: int, byte: int) -> None:
    value = ENDPOINT.value[:at] + bytes((byte,)) + ENDPOINT.value[at + 1 :]
    short, long, short_reports, long_reports = both(value)
    assert short == long
    assert short_reports == long_reports
