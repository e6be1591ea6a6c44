"""The operations against a real etcd."""

from __future__ import annotations

import pytest

from calico_openstack.etcd import (
    Compare,
    Delete,
    EtcdClient,
    EtcdCompacted,
    EtcdError,
    EtcdUnavailable,
    Get,
    Put,
    unchanged,
)
from tests.support.etcd import EtcdServer


def test_get_returns_what_was_put(etcd: EtcdClient) -> None:
    assert etcd.get("/a") is None
    revision = etcd.put("/a", b"1")
    found = etcd.get("/a")
    assert found is not None
    assert (found.key, found.value, found.mod_revision) == ("/a", b"1", revision)
    assert found.create_revision == revision
    assert found.lease == 0


def test_delete_says_whether_there_was_something(etcd: EtcdClient) -> None:
    etcd.put("/a", b"1")
    assert etcd.delete("/a")
    assert not etcd.delete("/a")


@pytest.mark.parametrize("page_size", [1, 7, 30, 1000])
def test_pages_make_up_the_whole_prefix_and_nothing_else(etcd: EtcdClient, page_size: int) -> None:
    names = [f"/p/{number:03}" for number in range(30)]
    for name in [*names, "/o", "/p", "/p0", "/q"]:
        etcd.put(name, name.encode())
    snapshot = etcd.get_prefix("/p/", page_size=page_size)
    assert [kv.key for kv in snapshot.kvs] == names
    assert all(kv.value == kv.key.encode() for kv in snapshot.kvs)


def test_pages_show_one_revision_while_others_write(etcd: EtcdClient) -> None:
    for number in range(10):
        etcd.put(f"/p/{number}", b"old")
    pages = etcd.iterate_prefix("/p/", page_size=3)
    seen = list(next(pages).kvs)
    etcd.delete("/p/9")
    etcd.put("/p/8", b"new")
    etcd.put("/p/a", b"new")
    seen += [kv for page in pages for kv in page.kvs]
    assert [kv.key for kv in seen] == [f"/p/{number}" for number in range(10)]
    assert {kv.value for kv in seen} == {b"old"}


def test_empty_prefix_and_keys_only(etcd: EtcdClient) -> None:
    assert etcd.get_prefix("/nothing/").kvs == []
    etcd.put("/a", b"1")
    etcd.put("\xff", b"2")
    assert {kv.key for kv in etcd.get_prefix("", keys_only=True).kvs} == {"/a", "\xff"}
    assert {kv.value for kv in etcd.get_prefix("", keys_only=True).kvs} == {b""}


def test_compare_and_swap(etcd: EtcdClient) -> None:
    created = etcd.put_if_unchanged("/a", b"1", 0)
    assert created
    assert etcd.put_if_unchanged("/a", b"2", 0) is None
    changed = etcd.put_if_unchanged("/a", b"2", created)
    assert changed
    assert etcd.put_if_unchanged("/a", b"3", created) is None
    assert not etcd.delete_if_unchanged("/a", created)
    assert etcd.delete_if_unchanged("/a", changed)
    assert etcd.get("/a") is None


def test_transaction_takes_one_branch_and_returns_its_results(etcd: EtcdClient) -> None:
    revision = etcd.put("/a", b"1")
    result = etcd.txn(
        [unchanged("/a", revision), Compare("/a", "value", "=", b"1")],
        [Put("/b", b"2"), Get("/a"), Delete("/a")],
        [Get("/b")],
    )
    assert result.succeeded
    put, got, deleted = result.responses
    assert put == result.revision
    assert isinstance(got, tuple)
    assert [kv.value for kv in got] == [b"1"]
    assert deleted == 1
    other = etcd.txn([unchanged("/b", 1)], [], [Get("/b"), Get("/a")])
    assert not other.succeeded
    assert [isinstance(item, tuple) and len(item) for item in other.responses] == [1, 0]


def test_lease_removes_its_keys_when_revoked(etcd: EtcdClient) -> None:
    lease = etcd.lease_grant(60)
    etcd.put("/a", b"1", lease)
    found = etcd.get("/a")
    assert found is not None
    assert found.lease == lease
    assert etcd.lease_keep_alive(lease) == 60
    etcd.lease_revoke(lease)
    assert etcd.get("/a") is None
    assert etcd.lease_keep_alive(lease) == 0
    with pytest.raises(EtcdError):
        etcd.lease_revoke(lease)


def test_compacted_revision_is_its_own_error(etcd: EtcdClient) -> None:
    old = etcd.put("/a", b"1")
    new = etcd.put("/a", b"2")
    etcd.compact(new)
    with pytest.raises(EtcdCompacted):
        etcd.get_prefix("/a", revision=old)


def test_status_tells_the_member(etcd: EtcdClient) -> None:
    status = etcd.status()
    assert status.cluster_id
    assert status.leader == status.member_id
    assert status.version.startswith("3.")


@pytest.mark.parametrize(
    "key", ["/" + "k" * 1_000_000, "/\udcff\udc80", "/\x00", "/ü€🙂", "/a b\n%2f"], ids=range(5)
)
def test_strange_keys_survive(etcd: EtcdClient, key: str) -> None:
    etcd.put(key, b"1")
    assert [kv.key for kv in etcd.get_prefix("/").kvs] == [key]
    assert etcd.delete(key)


def test_too_large_value_costs_only_its_request(etcd: EtcdClient) -> None:
    with pytest.raises(EtcdError, match="too large"):
        etcd.put("/a", bytes(1_800_000))
    etcd.put("/a", bytes(1_400_000))
    found = etcd.get("/a")
    assert found is not None
    assert len(found.value) == 1_400_000


def test_many_large_values_in_one_answer(etcd: EtcdClient) -> None:
    for number in range(8):
        etcd.put(f"/{number}", bytes(1_000_000))
    assert sum(len(kv.value) for kv in etcd.get_prefix("/").kvs) == 8_000_000


def test_unreachable_server_raises_unavailable(etcd_server: EtcdServer) -> None:
    server = EtcdServer(etcd_server.directory / "never-started")
    with server.client(timeout=0.5) as client, pytest.raises(EtcdUnavailable):
        client.get("/a")


def test_closed_client_raises(etcd_server: EtcdServer) -> None:
    client = etcd_server.client()
    client.close()
    with pytest.raises(EtcdUnavailable):
        client.get("/a")
