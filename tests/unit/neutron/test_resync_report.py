"""The result of a resynchronisation says what scripts must know."""

from __future__ import annotations

import json

from calico_openstack.neutron.resync_command import exit_status
from calico_openstack.neutron.resync_report import ALL, Phase, Report, Scope, merged
from calico_openstack.neutron.sync import Outcome


def report(*outcomes: Outcome, audit: bool = False, error: str | None = None) -> Report:
    phase = Phase("endpoints", stored=5, wanted=5)
    phase.outcomes = merged((f"/key/{n}", outcome) for n, outcome in enumerate(outcomes))
    result = Report(ALL, audit, [phase])
    result.finish(1.5, error)
    return result


def test_a_report_as_json() -> None:
    data = report(Outcome.UNCHANGED, Outcome.CREATED, Outcome.UPDATED, Outcome.DELETED).as_dict()
    assert json.loads(json.dumps(data)) == data
    assert data["scope"]["all"] is True
    assert data["ok"] is True
    assert data["error"] is None
    assert data["total_ms"] == 1500
    assert data["writes"] == 3
    phase = data["phases"]["endpoints"]
    counts = ("correct", "created", "updated", "deleted", "contested")
    assert [phase[name] for name in counts] == [3, 1, 1, 1, 0]
    assert phase["keys"] == {"/key/1": "created", "/key/2": "updated", "/key/3": "deleted"}


def test_exit_statuses() -> None:
    assert exit_status(report(Outcome.CREATED)) == 0
    assert exit_status(report(audit=True)) == 0
    assert exit_status(report(Outcome.CREATED, audit=True)) == 3
    assert exit_status(report(Outcome.CONTESTED)) == 1
    assert exit_status(report(error="EtcdUnavailable: gone")) == 1


def test_a_scope_is_everything_only_if_it_names_nothing() -> None:
    assert Scope(include_groups=True).is_all
    assert not Scope(ports=frozenset({"p1"})).is_all
