"""Connections that are cut, delayed and black-holed; members that die; forks."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from calico_openstack.etcd import EtcdClient, EtcdConfig, EtcdUnavailable, connection, pulse
from tests.support.etcd import EtcdServer
from tests.support.processes import free_port
from tests.support.proxy import Direction, Proxy
from tests.support.view import watching


@pytest.fixture
def proxy(etcd: EtcdClient, etcd_server: EtcdServer) -> Iterator[Proxy]:
    """A way to the (empty) etcd that can be disturbed."""
    with Proxy(etcd_server.client_port) as proxy:
        yield proxy


def through(*proxies: Proxy, timeout: float = 10.0) -> EtcdClient:
    return EtcdClient(EtcdConfig(tuple(proxy.endpoint for proxy in proxies), timeout=timeout))


def test_reads_survive_cut_connections(proxy: Proxy, etcd: EtcdClient) -> None:
    etcd.put("/a", b"1")
    with through(proxy) as client:
        for _ in range(5):
            found = client.get("/a")
            assert found is not None
            proxy.cut()


def test_slow_connection_is_no_failure(proxy: Proxy) -> None:
    with through(proxy) as client:
        client.put("/a", b"1")
        proxy.delay(0.2)
        assert client.get("/a") is not None
    assert proxy.connections == 1


@pytest.mark.parametrize("direction", [Direction.TO_SERVER, Direction.TO_CLIENT, Direction.BOTH])
def test_black_hole_ends_a_request_in_time_and_leaves_no_trace(
    proxy: Proxy, direction: Direction
) -> None:
    with through(proxy, timeout=1.0) as client:
        client.put("/a", b"1")
        proxy.black_hole(direction)
        with pytest.raises(EtcdUnavailable):
            client.get("/a")
        proxy.heal()
        assert client.get("/a") is not None


def test_write_that_may_have_happened_is_not_repeated(proxy: Proxy, etcd: EtcdClient) -> None:
    with through(proxy, timeout=1.0) as client:
        client.put("/a", b"1")
        proxy.black_hole(Direction.TO_CLIENT)
        with pytest.raises(EtcdUnavailable):
            client.put("/a", b"2")
    found = etcd.get("/a")
    assert found is not None
    assert found.value == b"2"
    assert etcd.get_prefix("/a").revision == found.mod_revision


def test_other_endpoint_serves_when_one_is_gone(proxy: Proxy, etcd_server: EtcdServer) -> None:
    with Proxy(etcd_server.client_port) as other, through(proxy, other) as client:
        client.put("/a", b"1")
        proxy.refuse()
        assert client.get("/a") is not None
        client.put("/a", b"2")
        other.refuse()
        proxy.heal()
        assert client.get("/a") is not None


def test_other_endpoint_serves_a_read_when_one_is_silent(
    proxy: Proxy, etcd_server: EtcdServer
) -> None:
    with Proxy(etcd_server.client_port) as other, through(proxy, other) as client:
        client.put("/a", b"1")
        proxy.black_hole()
        assert client.get("/a") is not None


def test_endpoint_that_never_answers_does_not_keep_us_from_connecting(
    etcd: EtcdClient, proxy: Proxy
) -> None:
    proxy.black_hole()
    config = EtcdConfig((f"http://127.0.0.1:{free_port()}", proxy.endpoint, *etcd.config.endpoints))
    with EtcdClient(config) as client:
        client.put("/a", b"1")


def test_watch_resumes_after_a_cut_and_says_so(
    proxy: Proxy, etcd: EtcdClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with watching(through(proxy)) as view:
        view.wait_for({})
        proxy.refuse()
        view.wait_connected(False)
        etcd.put("/w/a", b"1")
        etcd.put("/w/b", b"1")
        etcd.delete("/w/a")
        proxy.heal()
        view.wait_for({"/w/b": b"1"})
        view.wait_connected()
    assert caplog.text.index("No view of etcd") < caplog.text.index("The view of etcd is back")


@pytest.mark.parametrize("direction", [Direction.TO_CLIENT, Direction.BOTH])
def test_watch_notices_a_dead_peer_and_keeps_its_state(
    proxy: Proxy, etcd: EtcdClient, direction: Direction
) -> None:
    etcd.put("/w/a", b"1")
    with watching(through(proxy)) as view:
        view.wait_for({"/w/a": b"1"})
        proxy.black_hole(direction)
        view.wait_connected(False, timeout=30)
        etcd.put("/w/b", b"1")
        assert view.content == {"/w/a": b"1"}
        proxy.heal()
        view.wait_for({"/w/a": b"1", "/w/b": b"1"})


def test_dead_peer_is_noticed_within_ten_seconds() -> None:
    assert pulse.PROBE_INTERVAL + pulse.SILENCE_LIMIT <= 10
    assert connection.KEEPALIVE_TIME + connection.KEEPALIVE_TIMEOUT <= 10


@pytest.mark.usefixtures("impatient")
def test_watch_moves_to_another_endpoint_when_one_is_silent(
    proxy: Proxy, etcd: EtcdClient, etcd_server: EtcdServer
) -> None:
    with Proxy(etcd_server.client_port) as other, watching(through(proxy, other)) as view:
        view.wait_for({})
        proxy.black_hole()
        etcd.put("/w/a", b"1")
        view.wait_for({"/w/a": b"1"}, timeout=30)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make watches notice silence sooner, to save time."""
    monkeypatch.setattr(pulse, "PROBE_INTERVAL", 0.3)
    monkeypatch.setattr(pulse, "SILENCE_LIMIT", 1.5)


@pytest.mark.usefixtures("impatient")
def test_watch_stays_on_an_idle_connection(proxy: Proxy, etcd: EtcdClient) -> None:
    with watching(through(proxy)) as view:
        view.wait_for({})
        time.sleep(3)  # longer than the limit of silence
        assert [batch for batch in view.batches if not batch.connected] == []
        assert proxy.connections == 1


_FORK: Final = """
import os, sys
from calico_openstack.etcd import EtcdClient, EtcdConfig
client = EtcdClient(EtcdConfig((sys.argv[1],)))
children = []
for number in range(4):
    child = os.fork()
    if not child:
        client.put(f"/w/child{number}", b"1")
        os._exit(0)
    children.append(child)
client.put("/w/parent", b"1")
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
client.put("/w/parent", b"2")
sys.exit(any(codes))
"""


def test_forked_children_make_connections_of_their_own(proxy: Proxy, etcd: EtcdClient) -> None:
    """Share a client that has no connection yet, as Neutron's workers do.

    The process is a new one: in this one the gRPC library has been at work, see `etcd.forks`.
    """
    subprocess.run([sys.executable, "-c", _FORK, proxy.endpoint], check=True, timeout=60)
    written = {kv.key: kv.value for kv in etcd.get_prefix("/w/").kvs}
    assert written == {f"/w/child{number}": b"1" for number in range(4)} | {"/w/parent": b"2"}
    assert proxy.connections == 5


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[list[EtcdServer]]:
    """A cluster of three members."""
    members = [
        # Elections of a second instead of ten heartbeats: the machine may be busy.
        EtcdServer(tmp_path / f"m{number}", name=f"m{number}", options=("--election-timeout=1000",))
        for number in range(3)
    ]
    names = ",".join(f"{member.name}={member.peer_url}" for member in members)
    for member in members:
        member.initial_cluster = names
        member.start(wait=False)
    for member in members:
        assert member.process is not None
        member.process.wait_for_port(member.client_port)
    yield members
    for member in members:
        member.stop()


def test_cluster_without_its_leader_serves_on(cluster: list[EtcdServer]) -> None:
    config = EtcdConfig(tuple(member.endpoint for member in cluster), timeout=20)
    writer = EtcdClient(config)
    writer.put("/w/a", b"1")
    leader_id = writer.status().leader
    leader = next(m for m in cluster if EtcdClient(m.config()).status().member_id == leader_id)
    others = [member for member in cluster if member is not leader]
    ordered = EtcdConfig((leader.endpoint, *(m.endpoint for m in others)), timeout=20)
    with watching(EtcdClient(ordered)) as view:
        view.wait_for({"/w/a": b"1"})
        leader.kill()
        while True:
            try:
                writer.put("/w/b", b"1")
                break
            except EtcdUnavailable:
                continue
        view.wait_for({"/w/a": b"1", "/w/b": b"1"}, timeout=30)
        for member in others:
            member.kill()
        view.wait_connected(False, timeout=30)
        assert view.content == {"/w/a": b"1", "/w/b": b"1"}
        for member in cluster:
            member.start(wait=False)
        view.wait_connected(timeout=30)
        writer.put("/w/c", b"1")
        view.wait_for({"/w/a": b"1", "/w/b": b"1", "/w/c": b"1"}, timeout=30)


def test_watch_leaves_a_member_without_a_leader(cluster: list[EtcdServer]) -> None:
    """A member that lost its majority answers connections but must not be taken for current."""
    lonely, *others = cluster
    with watching(EtcdClient(EtcdConfig((lonely.endpoint,), timeout=3))) as view:
        view.wait_for({})
        for member in others:
            member.kill()
        view.wait_connected(False, timeout=30)
        for member in others:
            member.start(wait=False)
        view.wait_connected(timeout=30)


def test_a_process_ends_though_it_never_closed_its_client(etcd_server: EtcdServer) -> None:
    script = (
        "import sys\n"
        "from calico_openstack.etcd import EtcdClient, EtcdConfig\n"
        "client = EtcdClient(EtcdConfig((sys.argv[1],)))\n"
        "client.put('/w/unclosed', b'x')\n"
        "client.delete('/w/unclosed')\n"
    )
    command = [sys.executable, "-c", script, etcd_server.endpoint]
    for _ in range(3):
        assert subprocess.run(command, check=False, timeout=60).returncode == 0
