"""How much calicoctl takes from etcd and decodes: counted, not measured in time."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from benchmarks.clusters import Cluster
from calico_openstack.calicoctl import endpoint_scan
from calico_openstack.calicoctl.endpoint_scan import StoredEndpoints
from calico_openstack.calicoctl.excerpt import excerpt
from calico_openstack.datamodel import ResourceKey
from calico_openstack.etcd import EtcdClient, Put

CLUSTER = Cluster(400, 20, local=10)


@pytest.fixture
def filled(etcd: EtcdClient, monkeypatch: pytest.MonkeyPatch) -> EtcdClient:
    """An etcd with 400 endpoints of 40 hosts, read in 10 ranges with pages of 20."""
    monkeypatch.setattr(endpoint_scan, "_A_RANGE", 40)
    monkeypatch.setattr(endpoint_scan, "_A_PAGE", 20)
    for key, value in (*CLUSTER.objects(), *nodes()):
        etcd.txn([], [Put(key, value)])
    return etcd


def nodes() -> Iterator[tuple[str, bytes]]:
    for number in range(CLUSTER.hosts):
        name = CLUSTER.host(number)
        value = {"kind": "Node", "metadata": {"name": name}, "spec": {}}
        yield ResourceKey("Node", name).path, msgspec.json.encode(value)


def test_ranges_that_are_read_at_once_have_everything_once(filled: EtcdClient) -> None:
    address = CLUSTER.endpoint(123).address
    stored = StoredEndpoints(filled, {address})
    found = stored.holding({address})
    assert [key.path for key in found] == [CLUSTER.endpoint(123).key]
    # What no text can be told of is decoded all.
    everything = stored.holding({"ü"})
    assert len(everything) == CLUSTER.endpoints


def test_what_explain_decodes_does_not_grow_with_the_cluster(
    filled: EtcdClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = 0
    decode = endpoint_scan.decode

    def counting(path: str, value: bytes) -> object:
        nonlocal counted
        counted += "/workloadendpoints/" in path
        return decode(path, value)

    monkeypatch.setattr(endpoint_scan, "decode", counting)
    source, destination = CLUSTER.endpoint(5), CLUSTER.endpoint(210)
    part = excerpt(filled, source.address, destination.interface[3:])
    assert {part.source.address, part.destination.address} == {source.address, destination.address}
    # Both ends, each named, by address and by interface.
    assert counted <= 6


def test_an_endpoint_of_another_address_is_not_mistaken(filled: EtcdClient) -> None:
    # 10.0.0.1 is the beginning of 10.0.0.10 to 10.0.0.199.
    part = excerpt(filled, CLUSTER.endpoint(1).address, CLUSTER.endpoint(10).address)
    assert part.source.endpoint is not None
    assert part.source.endpoint.path == CLUSTER.endpoint(1).key
