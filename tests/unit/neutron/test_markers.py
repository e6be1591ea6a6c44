"""When a start must compare everything."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from calico_openstack.datamodel.comparison import (
    LastComparison,
    decode_last_comparison,
    last_comparison_path,
    region_of,
)
from calico_openstack.etcd import EtcdConfig, KeyValue, Status
from calico_openstack.neutron.markers import (
    Comparison,
    comparison,
    is_worth_telling,
    why_compare,
)
from calico_openstack.neutron.options import Settings

SETTINGS = Settings(EtcdConfig(("http://etcd:2379",)), None, 1, "auto", 600)
NOW = Comparison(translation="t", cluster_id=7, surplus=10)


def status(revision: int, index: int, cluster_id: int = 7) -> Status:
    return Status(cluster_id, 1, "3.5", 0, 1, revision, 2, index)


def stored(value: bytes) -> KeyValue:
    return KeyValue("/key", value, 5)


@pytest.mark.parametrize(
    ("earlier", "reason"),
    [
        (NOW, ""),
        (Comparison(translation="t", cluster_id=7, surplus=3), ""),
        (Comparison(translation="u", cluster_id=7, surplus=3), "version or settings"),
        (Comparison(translation="t", cluster_id=8, surplus=3), "replaced or restored"),
        (Comparison(translation="t", cluster_id=7, surplus=11), "replaced or restored"),
    ],
)
def test_a_comparison_holds_in_one_life_of_etcd(earlier: Comparison, reason: str) -> None:
    why = why_compare(stored(earlier.encode()), NOW)
    assert why.endswith(reason) if not reason else reason in why


def test_without_a_legible_word_everything_is_compared() -> None:
    assert "never" in why_compare(None, NOW)
    for value in (b"{}", b"\xff", b"[" * 100_000):
        assert "cannot be read" in why_compare(stored(value), NOW)


def test_a_restored_backup_is_another_life() -> None:
    before = comparison(SETTINGS, status(revision=5000, index=5100))
    assert why_compare(stored(before.encode()), comparison(SETTINGS, status(9000, 9300))) == ""
    assert why_compare(stored(before.encode()), comparison(SETTINGS, status(4990, 12))) != ""


def test_settings_that_shape_values_matter_and_others_do_not() -> None:
    at = status(5, 9)
    before = stored(comparison(SETTINGS, at).encode())
    assert why_compare(before, comparison(dataclasses.replace(SETTINGS, metrics_port=1), at)) == ""
    renamed = dataclasses.replace(SETTINGS, project_names=False)
    assert "settings" in why_compare(before, comparison(renamed, at))


CLEAN = LastComparison(time=1000.0, version="1", interval=600)


@pytest.mark.parametrize(
    ("earlier", "now", "expected"),
    [
        (None, CLEAN, True),
        (CLEAN, msgspec.structs.replace(CLEAN, time=1600.0), False),
        (CLEAN, msgspec.structs.replace(CLEAN, time=4600.0), True),
        (CLEAN, msgspec.structs.replace(CLEAN, time=900.0), True),
        (CLEAN, msgspec.structs.replace(CLEAN, version="2"), True),
        (CLEAN, msgspec.structs.replace(CLEAN, differing=1), True),
        (msgspec.structs.replace(CLEAN, error="database away"), CLEAN, True),
    ],
)
def test_a_clean_cloud_is_told_of_seldom(
    earlier: LastComparison | None, now: LastComparison, expected: bool
) -> None:
    assert is_worth_telling(earlier, now) is expected


def test_what_operators_read_is_found_by_its_region() -> None:
    path = last_comparison_path("region-a")
    assert (region_of(path), region_of("/calico/neutron/v1/a/order")) == ("region-a", "")
    told = LastComparison(time=1.5, server="n1", differing=12, keys=tuple(map(str, range(12))))
    read = decode_last_comparison(told.encode())
    assert read is not None
    assert (read.differing, len(read.keys)) == (12, 10)
    assert decode_last_comparison(b"[]") is None
