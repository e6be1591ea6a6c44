"""Felix's first listing of endpoints, made beside its watch, with a real etcd."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from benchmarks.clusters import Cluster
from calico_openstack.datamodel.remote import RemoteEndpoint
from calico_openstack.etcd import Batch, EtcdClient, SnapshotWatch
from calico_openstack.felix.first_listing import FirstListing
from calico_openstack.felix.listing_process import ListingProcess
from calico_openstack.felix.listing_work import PREFIX, list_endpoints
from tests.support.etcd import EtcdServer
from tests.support.processes import eventually
from tests.support.view import View

CLUSTER = Cluster(60, 10, local=20)
ENDPOINTS = {each.key: each.value for each in map(CLUSTER.endpoint, range(60))}
OTHER = "/calico/resources/v3/projectcalico.org/tiers/"


class Listener(View):
    """A view that also takes endpoints that were read already."""

    def __init__(self) -> None:
        super().__init__()
        self.prepared: list[RemoteEndpoint] = []

    def deliver(self, batch: Batch) -> None:
        self.prepared += batch.prepared
        for endpoint in batch.prepared:
            self.content[endpoint.path] = ENDPOINTS[endpoint.path]
        super().deliver(batch)


@pytest.fixture
def settings(tmp_path: Path, etcd: EtcdClient, etcd_server: EtcdServer) -> Path:
    """Felix's file of settings; etcd has the endpoints."""
    for key, value in ENDPOINTS.items():
        etcd.put(key, value)
    etcd.put(f"{OTHER}default", b"{}")
    file = tmp_path / "felix.cfg"
    host = CLUSTER.host(0)
    file.write_text(f"EtcdEndpoints = {etcd_server.endpoint}\nFelixHostname = {host}\n")
    return file


def listed(settings: Path) -> bytes:
    """All that the process tells."""
    ours, theirs = os.pipe()
    thread = threading.Thread(target=list_endpoints, args=(str(settings), theirs))
    thread.start()
    with os.fdopen(ours, "rb") as file:
        content = file.read()
    thread.join()
    return content


def watch(etcd_server: EtcdServer, content: bytes) -> Listener:
    """Watch, with a listing of this content, until all is known."""
    ours, theirs = os.pipe()
    with os.fdopen(theirs, "wb") as file:
        file.write(content)
    listener = Listener()
    with etcd_server.client() as client:
        ahead = FirstListing(ListingProcess(0, ours), 0)
        watch = SnapshotWatch(client, [OTHER, PREFIX], listener.deliver, ahead=ahead)
        watch.start()
        try:
            eventually(lambda: listener.in_sync, 15.0, "the listing")
            client.put(f"{PREFIX}openstack/later", b"1")
            listener.wait_for(
                {**ENDPOINTS, f"{OTHER}default": b"{}", f"{PREFIX}openstack/later": b"1"}
            )
        finally:
            watch.stop()
    watch.join(20)
    return listener


def test_endpoints_of_other_hosts_come_prepared(settings: Path, etcd_server: EtcdServer) -> None:
    listener = watch(etcd_server, listed(settings))
    assert len(listener.prepared) == 40
    # Those of this host, the tier, and what came later.
    assert listener.updates() == 20 + 1 + 1


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_what_breaks_off_is_listed_anew(
    settings: Path, etcd_server: EtcdServer, share: float
) -> None:
    content = listed(settings)
    listener = watch(etcd_server, content[: int(len(content) * share)])
    # Nothing is told twice.
    assert len(listener.prepared) + listener.updates() == 60 + 1 + 1


def test_what_changed_since_is_told(
    settings: Path, etcd: EtcdClient, etcd_server: EtcdServer
) -> None:
    content = listed(settings)
    later = f"{PREFIX}openstack/later"
    etcd.put(later, b"0")
    etcd.delete(later)
    listener = watch(etcd_server, content)
    assert len(listener.prepared) == 40


def test_what_was_compacted_is_listed_anew(
    settings: Path, etcd: EtcdClient, etcd_server: EtcdServer
) -> None:
    content = listed(settings)
    etcd.compact(etcd.put("/unrelated", b"1"))
    assert watch(etcd_server, content).prepared == []


def test_a_process_of_its_own_lists(settings: Path) -> None:
    """Made in a program without threads, as Felix is when it starts."""
    program = f"""
import os
from calico_openstack.felix import listing_process
process = listing_process.start({str(settings)!r})
with os.fdopen(process.descriptor, "rb") as file:
    os.write(1, file.read())
process.end()
process.end()
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == (listed(settings), b"")


def test_a_process_that_cannot_list_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "felix.cfg"
    file.write_text("EtcdEndpoints = gopher://127.0.0.1\n")
    program = f"""
import os
from calico_openstack.felix import listing_process
process = listing_process.start({str(file)!r})
with os.fdopen(process.descriptor, "rb") as file:
    os.write(1, file.read())
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")
