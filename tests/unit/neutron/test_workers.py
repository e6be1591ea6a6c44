"""The driver's workers get processes of their own, with every supported release."""

from __future__ import annotations

import pytest

from calico_openstack.neutron.workers import process_count


@pytest.mark.parametrize(
    ("version", "count"),
    [("28.0.0", 0), ("28.0.2.dev7", 0), ("29.0.0.0b1", 1), ("29.0.0", 1), ("30.1.0", 1)],
)
def test_how_many_processes_a_worker_asks_for(version: str, count: int) -> None:
    assert process_count(version) == count
