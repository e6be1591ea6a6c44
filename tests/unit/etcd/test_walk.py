"""A range is read completely, in order and once, in parts that do not grow with what is left."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.etcd.pages import Walk
from calico_openstack.etcd.proto import etcd_pb2 as pb
from calico_openstack.etcd.records import EVERYTHING, end_of


class Server:
    """Answers ranges as etcd does; ``visited`` keys were looked at."""

    def __init__(self, keys: set[bytes]) -> None:
        self.keys = sorted(keys)
        self.visited = 0
        self.asked = 0

    def answer(self, start: bytes, end: bytes, limit: int) -> pb.RangeResponse:
        found = [k for k in self.keys if start <= k and (end == EVERYTHING or k < end)]
        self.visited += len(found)
        self.asked += 1
        kvs = [pb.KeyValue(key=key) for key in found[:limit]]
        return pb.RangeResponse(kvs=kvs, more=len(found) > limit, count=len(found))

    def read(self, prefix: bytes, limit: int) -> list[bytes]:
        walk, found = Walk(prefix or b"\0", end_of(prefix)), list[bytes]()
        while True:
            response = self.answer(walk.start, walk.end, limit)
            found += [kv.key for kv in response.kvs]
            if not walk.follow(response):
                return found


parts = st.sampled_from([b"a", b"b", b"a1", b"\xff", b"\xfe", b"/", b"\x01"])
names = st.lists(parts, min_size=1, max_size=6).map(b"".join)


@given(
    st.sets(names, max_size=40),
    st.sampled_from([b"", b"a", b"\xff", b"a/"]),
    st.integers(1, 7),
)
def test_everything_is_read_in_order_and_once(keys: set[bytes], prefix: bytes, limit: int) -> None:
    server = Server(keys)
    assert server.read(prefix, limit) == [key for key in server.keys if key.startswith(prefix)]
    # A nearer end costs two requests at most: the one behind it, and the one behind that.
    assert server.asked <= 3 * (len(keys) // limit + 1)


def test_the_work_does_not_grow_with_the_square() -> None:
    keys = {f"/e/host-{host:04}-{port:02}".encode() for host in range(200) for port in range(20)}
    server = Server(keys)
    assert server.read(b"/e/", 40) == server.keys
    # Half of all for each page, if each asks for all that is left.
    assert server.visited < len(keys) * len(keys) / 40 / 2 / 5
