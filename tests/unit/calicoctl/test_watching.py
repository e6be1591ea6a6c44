"""What a watch shows."""

from __future__ import annotations

import pytest

from calico_openstack.calicoctl.kinds import columns_named
from calico_openstack.calicoctl.watching import Events, Printer
from calico_openstack.datamodel import Metadata, ResourceKey, Tier, encode
from calico_openstack.etcd import Batch
from calico_openstack.etcd.replica import Update


def _update(name: str, labels: dict[str, str] | None, revision: int = 7) -> Update:
    tier = Tier(metadata=Metadata(name=name, labels=labels or {}))
    value = None if labels is None else encode(tier)
    return Update(ResourceKey("Tier", name).path, value, revision)


def test_what_leaves_the_selection_counts_as_deleted() -> None:
    events = Events((), lambda labels: "a" in labels)
    batch = Batch([
        _update("one", {"a": "1"}), _update("two", {}), _update("one", {"a": "2"}),
        _update("one", {}), _update("two", None), _update("one", None),
    ])  # fmt: skip
    assert [event for event, _ in events.of(batch)] == ["ADDED", "MODIFIED", "DELETED"]


def test_only_the_keys_asked_for_are_shown() -> None:
    events = Events({ResourceKey("Tier", "one")}, lambda labels: True)
    batch = Batch([_update("one", {}), _update("two", {})])
    assert [row["metadata"]["resourceVersion"] for _, row in events.of(batch)] == ["7"]


def test_a_table_has_one_header(capsys: pytest.CaptureFixture[str]) -> None:
    printer = Printer("ps", columns_named(Tier, ["NAME"]))
    events = Events((), lambda labels: True)
    for event, row in events.of(Batch([_update("one", {}), _update("one", None)])):
        printer.print(event, row)
    assert capsys.readouterr().out.split() == ["EVENT", "NAME", "ADDED", "one", "DELETED", "one"]
