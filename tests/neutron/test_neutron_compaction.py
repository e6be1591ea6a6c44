"""The scheme of compactions against a real etcd."""

from __future__ import annotations

import pytest

from calico_openstack.etcd import EtcdClient, EtcdError
from calico_openstack.neutron.compaction import LAST, TRIGGER, compact


def write(client: EtcdClient, number: int) -> None:
    for _ in range(number):
        client.put("/some/key", b"value")


def test_history_is_forgotten_one_period_later(etcd: EtcdClient) -> None:
    first = etcd.put("/some/key", b"first")
    compact(etcd, 600, 10)
    trigger = etcd.get(TRIGGER)
    assert trigger is not None
    assert trigger.lease != 0
    write(etcd, 50)
    # The trigger is still there: nothing happens.
    compact(etcd, 600, 10)
    assert etcd.get_prefix("/some/", revision=first).kvs
    looked = etcd.get(LAST)
    assert looked is not None
    etcd.delete(TRIGGER)
    compact(etcd, 600, 10)
    with pytest.raises(EtcdError):
        etcd.get_prefix("/some/", revision=first)
    last = etcd.get(LAST)
    assert last is not None
    # What is newer than the look before is kept.
    assert int(last.value) == looked.mod_revision > first
    assert etcd.get_prefix("/some/", revision=looked.mod_revision).kvs
