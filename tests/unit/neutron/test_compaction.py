"""Etcd's history is kept for a period, and for a number of revisions."""

from __future__ import annotations

import pytest

from calico_openstack.neutron.compaction import History, Plan, plan


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        # It is not time.
        (History(5000, is_triggered=True, is_leased=True, last=0), None),
        # A trigger that would stay for ever.
        (History(5000, is_triggered=True, last=0), Plan(0)),
        # Nobody has looked before.
        (History(5000), Plan(0)),
        # Another etcd than the last time.
        (History(500, last=4000, checked=300), Plan(0)),
        # Too little has happened.
        (History(900, last=0, checked=10), Plan(0)),
        # What was new at the last look is kept.
        (History(9000, last=0, checked=5000), Plan(5000, 5000)),
        # At least so many revisions are kept.
        (History(9000, last=4000, checked=8900), Plan(8000, 8000)),
        (History(9000, last=8000, checked=8900), Plan(8000)),
    ],
)
def test_the_plan(history: History, expected: Plan | None) -> None:
    assert plan(history, 1000) == expected
