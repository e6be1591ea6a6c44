"""What the process that lists endpoints tells comes out at the other end, or nothing does."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.datamodel import ResourceKey, workload_endpoint_name
from calico_openstack.datamodel.remote import RemoteEndpoints
from calico_openstack.etcd import ListedPage
from calico_openstack.etcd.proto import etcd_pb2 as pb
from calico_openstack.felix.first_listing import FirstListing
from calico_openstack.felix.listing_frames import Frame, write_frame
from calico_openstack.felix.listing_process import ListingProcess
from calico_openstack.felix.listing_work import Pages

HERE, CLUSTER, REVISION = "compute-1", 7, 5


def stored(number: int, host: str, group: int) -> pb.KeyValue:
    """An endpoint as etcd has it; those of one group have the same labels."""
    name = workload_endpoint_name(host, "openstack", f"vm-{number}", f"port{number}")
    metadata = {"name": name, "namespace": "openstack", "labels": {"group": f"g{group}"}}
    spec = {
        "orchestrator": "openstack",
        "workload": f"vm-{number}",
        "node": host,
        "endpoint": f"port{number}",
        "interfaceName": f"tap{number}",
        "ipNetworks": [f"10.0.0.{number}/32", f"fd00::{number}/128"],
        "profiles": [f"p{group}"] if group else [],
    }
    resource = {
        "kind": "WorkloadEndpoint",
        "apiVersion": "projectcalico.org/v3",
        "metadata": metadata,
        "spec": spec,
    }
    key = ResourceKey("WorkloadEndpoint", name, "openstack").path
    value = json.dumps(resource).encode()
    return pb.KeyValue(key=key.encode(), value=value, mod_revision=number + 1)


def read(content: bytes, cluster: int = CLUSTER, oldest: int = 0) -> tuple[int, list[ListedPage]]:
    ours, theirs = os.pipe()
    with os.fdopen(theirs, "wb") as end:
        assert len(content) < 65536
        end.write(content)
    found = FirstListing(ListingProcess(0, ours), oldest)
    try:
        return found.begin(cluster), list(found.pages())
    finally:
        found.close()


def told(pages: Iterable[list[pb.KeyValue]]) -> bytes:
    work, buffer = Pages(HERE), _Buffer()
    responses = [
        pb.RangeResponse(header=pb.ResponseHeader(cluster_id=CLUSTER, revision=REVISION), kvs=kvs)
        for kvs in pages
    ]
    for response in responses:
        if work.is_first:
            write_frame(buffer, work.begin(response))
        write_frame(buffer, work.frame(response))
    write_frame(buffer, work.end())
    return bytes(buffer.content)


class _Buffer:
    """A file that takes a few bytes at a time, as pipes may."""

    def __init__(self) -> None:
        self.content = bytearray()

    def write(self, content: memoryview) -> int:
        part = content[:100]
        self.content += part
        return len(part)


endpoints = st.builds(
    stored,
    st.integers(0, 200),
    st.sampled_from([HERE, "compute-2", "compute-3"]),
    st.integers(0, 3),
)


@given(
    st.lists(st.lists(endpoints, max_size=8, unique_by=lambda kv: kv.key), min_size=1, max_size=4)
)
def test_what_is_listed_is_what_reading_it_gives(pages: list[list[pb.KeyValue]]) -> None:
    revision, received = read(told(pages))
    assert revision == REVISION
    assert [page.is_last for page in received] == [*(False for _ in pages), True]
    reader = RemoteEndpoints(HERE)
    for kvs, page in zip([*pages, []], received, strict=True):
        wanted = {kv.key.decode(): reader.read(kv.key.decode(), kv.value) for kv in kvs}
        assert {each.path: each for each in page.prepared} == {
            path: endpoint for path, endpoint in wanted.items() if endpoint is not None
        }
        assert [each.path for each in page.prepared] == [key for key, _ in page.revisions]
        everything = {kv.key.decode(): kv for kv in kvs}
        assert dict(page.revisions).items() <= {
            (key, kv.mod_revision) for key, kv in everything.items()
        }
        for key, value, revision in page.others:
            assert wanted[key] is None
            assert (value, revision) == (everything[key].value, everything[key].mod_revision)
        assert len(page.prepared) + len(page.others) == len(kvs)


@given(st.data())
def test_what_breaks_off_has_no_end(data: st.DataObject) -> None:
    content = told([[stored(1, "compute-2", 1), stored(2, HERE, 1)], [stored(3, "compute-2", 1)]])
    whole = read(content)[1]
    cut = data.draw(st.integers(0, len(content) - 1))
    _, pages = read(content[:cut])
    assert pages == whole[: len(pages)]
    assert not any(page.is_last for page in pages)


def test_another_cluster_is_none_to_begin_with() -> None:
    buffer = _Buffer()
    write_frame(buffer, Frame(REVISION, CLUSTER + 1))
    assert read(bytes(buffer.content))[0] == 0


def test_a_listing_older_than_the_settings_is_none_to_begin_with() -> None:
    assert read(told([[]]), oldest=REVISION)[0] == REVISION
    assert read(told([[]]), oldest=REVISION + 1)[0] == 0
