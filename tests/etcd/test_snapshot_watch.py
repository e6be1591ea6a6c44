"""SnapshotWatch against a real etcd: the view follows, whatever happens to the server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from calico_openstack.etcd import Delete, EtcdClient, Put
from tests.support.etcd import EtcdServer
from tests.support.processes import eventually
from tests.support.view import watching


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EtcdServer]:
    """An etcd of the test's own, which it may kill."""
    server = EtcdServer(tmp_path / "etcd").start()
    yield server
    server.stop()


def test_lists_then_follows(etcd: EtcdClient, etcd_server: EtcdServer) -> None:
    content = {f"/w/{number}": b"1" for number in range(25)}
    for key, value in content.items():
        etcd.put(key, value)
    etcd.put("/other", b"1")
    with watching(etcd_server.client(), page_size=10) as view:
        view.wait_for(content)
        assert [batch.in_sync for batch in view.batches] == [False, False, False, True]
        etcd.put("/w/3", b"2")
        etcd.delete("/w/4")
        etcd.put("/w/new", b"")
        etcd.delete("/other")
        content |= {"/w/3": b"2", "/w/new": b""}
        del content["/w/4"]
        view.wait_for(content)
        assert view.updates() == 25 + 3


def test_empty_prefixes_are_in_sync_at_once(etcd_server: EtcdServer) -> None:
    with watching(etcd_server.client(), ["/none/", "/nothing/"]) as view:
        view.wait_for({})
        assert view.connected


def test_sleeps_while_nothing_happens(etcd_server: EtcdServer) -> None:
    with watching(etcd_server.client(), ["/none/"]) as view:
        view.wait_for({})
        threads = [each for each in threading.enumerate() if each.name.startswith("etcd-watch")]
        before = sum(map(wakeups, threads))
        time.sleep(2.5)
        # Signs of life of the server, asked for every two seconds.
        assert sum(map(wakeups, threads)) - before < 10


def wakeups(thread: threading.Thread) -> int:
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


def test_many_prefixes_share_a_stream(etcd: EtcdClient, etcd_server: EtcdServer) -> None:
    prefixes = [f"/w/{number}/" for number in range(20)]
    with watching(etcd_server.client(), prefixes) as view:
        view.wait_for({})
        for prefix in prefixes:
            etcd.put(prefix + "a", b"1")
        view.wait_for({prefix + "a": b"1" for prefix in prefixes})


def test_changes_of_one_transaction_come_in_one_batch(
    etcd: EtcdClient, etcd_server: EtcdServer
) -> None:
    etcd.put("/w/old", b"1")
    with watching(etcd_server.client()) as view:
        view.wait_for({"/w/old": b"1"})
        etcd.txn([], [*(Put(f"/w/{number}", b"1") for number in range(100)), Delete("/w/old")])
        view.wait_for({f"/w/{number}": b"1" for number in range(100)})
        assert len([batch for batch in view.batches if batch.updates]) == 2


def test_burst_is_followed_completely(etcd: EtcdClient, etcd_server: EtcdServer) -> None:
    with watching(etcd_server.client()) as view:
        view.wait_for({})
        for start in range(0, 2000, 100):
            etcd.txn([], [Put(f"/w/{number}", b"1") for number in range(start, start + 100)])
        for number in range(100):
            etcd.put("/w/last", str(number).encode())
        view.wait_for({f"/w/{number}": b"1" for number in range(2000)} | {"/w/last": b"99"})


def test_keys_that_are_not_text_are_followed(etcd: EtcdClient, etcd_server: EtcdServer) -> None:
    with watching(etcd_server.client()) as view:
        view.wait_for({})
        strange = "/w/\udcff\udc80" + "k" * 1_000_000
        etcd.put(strange, b"1")
        view.wait_for({strange: b"1"})
        etcd.delete(strange)
        view.wait_for({})


def test_killed_server_loses_nothing(server: EtcdServer) -> None:
    client = server.client()
    client.put("/w/a", b"1")
    client.put("/w/b", b"1")
    with watching(server.client()) as view:
        view.wait_for({"/w/a": b"1", "/w/b": b"1"})
        server.kill()
        view.wait_connected(False)
        assert view.content == {"/w/a": b"1", "/w/b": b"1"}
        server.start()
        client.put("/w/c", b"1")
        client.delete("/w/a")
        view.wait_for({"/w/b": b"1", "/w/c": b"1"})
        view.wait_connected()
        assert view.updates() == 4, "nothing that was known is repeated"


def test_watch_may_start_before_the_server(tmp_path: Path) -> None:
    server = EtcdServer(tmp_path / "etcd")
    with watching(server.client()) as view:
        server.start()
        with server.client() as client:
            client.put("/w/a", b"1")
        view.wait_for({"/w/a": b"1"})
    server.stop()


def test_compaction_while_away_shows_only_differences(server: EtcdServer) -> None:
    client = server.client()
    for number in range(10):
        client.put(f"/w/{number}", b"1")
    with watching(server.client(), page_size=3) as view:
        view.wait_for({f"/w/{number}": b"1" for number in range(10)})
        known = len(view.batches)
        server.kill()
        view.wait_connected(False)
        # The watch must not come back before the history is gone, so this port is not its own.
        port, server.client_port = server.client_port, server.peer_port + 1
        server.start()
        with server.client() as other:
            other.put("/w/1", b"2")
            other.delete("/w/2")
            other.put("/w/new", b"1")
            other.compact(other.put("/x", b""))
        server.kill()
        server.client_port = port
        server.start()
        expected = {f"/w/{number}": b"1" for number in range(10) if number != 2}
        expected |= {"/w/1": b"2", "/w/new": b"1"}
        view.wait_for(expected)
        changed = [batch for batch in view.batches[known:] if batch.updates]
        assert len(changed) == 1, "differences of a new listing come in one batch"
        assert {update.key for update in changed[0].updates} == {"/w/1", "/w/2", "/w/new"}


def test_compaction_behind_a_live_watch_does_not_disturb(
    etcd: EtcdClient, etcd_server: EtcdServer
) -> None:
    with watching(etcd_server.client()) as view:
        view.wait_for({})
        for number in range(5):
            etcd.compact(etcd.put("/w/a", str(number).encode()))
        view.wait_for({"/w/a": b"4"})
        assert not [batch for batch in view.batches if not batch.connected]


def test_emptied_cluster_shows_deletions(server: EtcdServer) -> None:
    client = server.client()
    for number in range(5):
        client.put(f"/w/{number}", b"1")
    with watching(server.client()) as view:
        view.wait_for({f"/w/{number}": b"1" for number in range(5)})
        server.kill()
        server.forget()
        server.start()
        client.put("/w/3", b"another life")
        view.wait_for({"/w/3": b"another life"})


def test_restored_backup_is_delivered_even_where_revisions_agree(
    server: EtcdServer, tmp_path: Path
) -> None:
    with server.client() as client:
        for _ in range(50):
            client.put("/w/kept", b"1")
        server.etcdctl("snapshot", "save", str(tmp_path / "backup"))
        revision = client.put("/w/a", b"before")
        with watching(server.client()) as view:
            view.wait_for({"/w/kept": b"1", "/w/a": b"before"})
            server.kill()
            server.forget()
            server.etcdctl(
                "snapshot",
                "restore",
                str(tmp_path / "backup"),
                f"--data-dir={server.directory / 'data'}",
                f"--name={server.name}",
                f"--initial-cluster={server.name}={server.peer_url}",
                f"--initial-advertise-peer-urls={server.peer_url}",
            )
            server.start()
            assert client.put("/w/a", b"after") == revision
            view.wait_for({"/w/kept": b"1", "/w/a": b"after"})


def test_stopping_is_prompt_and_final(etcd: EtcdClient, etcd_server: EtcdServer) -> None:
    with watching(etcd_server.client()) as view:
        view.wait_for({})
    batches = len(view.batches)
    etcd.put("/w/a", b"1")
    eventually(lambda: etcd.get("/w/a") is not None)
    assert len(view.batches) == batches
