"""All stored endpoints, searched for texts without being taken apart.

A hundred thousand endpoints are 130 MB, which etcd needs most of a second to read and hand out. So
many small ranges of keys are read, several at once, one etcd's processor for each, and what comes
is searched as bytes: only of pages that have a text somewhere, and of these only what has it, is
decoded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple

from calico_openstack.calicoctl.ends import trace_of
from calico_openstack.datamodel import (
    Invalid,
    Node,
    Resource,
    ResourceKey,
    WorkloadEndpoint,
    decode,
    parse_key,
    prefix_of,
)
from calico_openstack.etcd import EtcdClient, StoredPage
from calico_openstack.etcd.records import KeyValue, range_end, to_bytes

Resources = dict[ResourceKey, Resource | Invalid]

# Ranges are about so long; small ones are in the processor's caches while they are searched.
_A_RANGE: Final = 2_500
# etcd counts what is left of a range for every page, so a range should be one page.
_A_PAGE: Final = 10_000
_AT_ONCE: Final = 6


def decoded(stored: Collection[KeyValue] | Iterator[KeyValue]) -> Resources:
    """Return the resources among stored keys."""
    found: Resources = {}
    for kv in stored:
        key, value = parse_key(kv.key), decode(kv.key, kv.value)
        if isinstance(key, ResourceKey) and isinstance(value, Resource | Invalid):
            found[key] = value
    return found


class _Searched(NamedTuple):
    """A page, and what of it holds texts, by what they begin with; None if not searched for it."""

    page: StoredPage
    held: dict[bytes, list[KeyValue]]

    def holding(self, beginning: bytes) -> list[KeyValue]:
        if beginning not in self.held:
            self.held[beginning] = list(self.page.holding(beginning))
        return self.held[beginning]


class StoredEndpoints:
    """The endpoints of a namespace, or of all; they are read while the caller does other things.

    They are searched for *texts* as they come. All are of one revision. Raises `EtcdError`.
    """

    def __init__(self, client: EtcdClient, texts: Collection[str], namespace: str = "") -> None:
        self._client = client
        self._prefix = prefix_of(WorkloadEndpoint.KIND, namespace)
        self._beginnings = [trace.beginning for trace in map(trace_of, texts) if trace]
        self._pool = ThreadPoolExecutor(_AT_ONCE)
        self._searched: list[_Searched] = []
        self._parts = self._pool.submit(self._start)

    def holding(self, texts: Collection[str]) -> Resources:
        """Return the endpoints that contain one of *texts*, all of them if that cannot be told."""
        if not self._searched:
            for part in self._parts.result():
                self._searched += part.result()
            self._pool.shutdown(wait=False)
        found: Resources = {}
        for trace in map(trace_of, texts):
            beginning = trace.beginning if trace else b""
            stored = (kv for each in self._searched for kv in each.holding(beginning))
            found |= decoded(kv for kv in stored if trace is None or trace.is_in(kv.value))
        return found

    def _start(self) -> list[Future[list[_Searched]]]:
        return [self._pool.submit(self._read, *each) for each in self._ranges()]

    def _ranges(self) -> list[tuple[bytes, bytes, int]]:
        """Return ranges of keys that are about equally long, and the revision to read all at.

        Keys begin with the names of hosts, which a large cloud has as nodes.
        """
        nodes = self._pool.submit(self._nodes)
        first = self._client.first(self._prefix)
        cuts = [to_bytes(self._prefix)]
        if first.count > _A_RANGE:
            namespace = first.key.rpartition("/")[0]
            hosts = sorted(to_bytes(on_host(namespace, each)) for each in nodes.result())
            parts = min(first.count // _A_RANGE, len(hosts))
            cuts += [hosts[len(hosts) * part // parts] for part in range(1, parts)]
        ends = [*cuts[1:], range_end(self._prefix)]
        return [(start, end, first.revision) for start, end in zip(cuts, ends, strict=True)]

    def _nodes(self) -> list[str]:
        pages = self._client.iterate_prefix(prefix_of(Node.KIND), keys_only=True)
        return [kv.key.rpartition("/")[2] for page in pages for kv in page.kvs]

    def _read(self, start: bytes, end: bytes, revision: int) -> list[_Searched]:
        found = []
        pages = self._client.stored_pages(start, end, revision=revision, page_size=_A_PAGE)
        for page in pages:
            found.append(_Searched(page, {}))
            for beginning in self._beginnings:
                found[-1].holding(beginning)
        return found


def on_host(namespace: str, host: str) -> str:
    """Return how the keys of the endpoints of a host begin; *namespace* is the key's part.

    Those of hosts with longer names may begin so too.
    """
    return f"{namespace}/{host.replace('-', '--')}-"
