"""Pages of a range as etcd sent them, to be searched before they are taken apart."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from calico_openstack.etcd.proto import etcd_pb2 as pb
from calico_openstack.etcd.records import KeyValue, key_value


class First(Struct, frozen=True):
    """The first key below a prefix ("" without any), how many there are, and at which revision."""

    key: str
    count: int
    revision: int


class StoredPage(Struct, frozen=True):
    """A page of keys and values, as one piece of bytes in which values are as they are stored."""

    data: bytes

    def holding(self, text: bytes) -> Iterator[KeyValue]:
        """Yield the keys whose values contain *text*."""
        if text in self.data:
            for kv in pb.RangeResponse.FromString(self.data).kvs:
                if text in kv.value:
                    yield key_value(kv)
