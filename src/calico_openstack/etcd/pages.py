"""Reading a range page by page: what to ask for next, and pages as etcd sent them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from calico_openstack.etcd.proto import etcd_pb2 as pb
from calico_openstack.etcd.records import EVERYTHING, KeyValue, end_of, key_value

# How many pages have to be left for a nearer end to be worth a request more.
_MANY: Final = 3


class Walk:
    """Which part of the range from *start* to before *end* to ask for next.

    etcd visits every key of the range that it is asked for, however few it is to return, so asking
    for all that is left makes the work grow with the square of the number of keys. A page shows
    how far apart keys are: the next part ends where they cease to begin with what those of the page
    have in common.
    """

    def __init__(self, start: bytes, end: bytes) -> None:
        self.start = start
        self.end = end
        self._whole = end
        self._widened = False

    def follow(self, response: pb.RangeResponse) -> bool:
        """Take up the answer for the part; return whether there is another one to ask for."""
        if response.more:
            first, last = response.kvs[0].key, response.kvs[-1].key
            self.start = last + b"\0"
            if response.count > _MANY * len(response.kvs):
                self.end = _nearer(_in_common(first, last), self.end)
                self._widened = False
            return True
        if self.end == self._whole:
            return False
        self.start = self.end
        # Once by what one byte less has in common; who needs more than that may need any number.
        self.end = self._whole if self._widened else _nearer(self.end[:-1], self._whole)
        self._widened = True
        return True


def _nearer(prefix: bytes, limit: bytes) -> bytes:
    """Return the end of the keys with *prefix*, or *limit* if it is nearer."""
    found = end_of(prefix)
    if found == EVERYTHING or (limit != EVERYTHING and limit < found):
        return limit
    return found


def _in_common(one: bytes, other: bytes) -> bytes:
    """Return what both begin with."""
    length = 0
    for mine, its in zip(one, other, strict=False):
        if mine != its:
            break
        length += 1
    return one[:length]


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
