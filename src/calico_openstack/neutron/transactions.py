"""How many keys go into one transaction of etcd, and reading many of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from calico_openstack.etcd import EtcdClient, Get, KeyValue

# etcd accepts 128 operations in a transaction unless configured otherwise.
_READS_AT_ONCE = 100
_WRITES_AT_ONCE = 100
# Nor a request of more than 1.5 MiB (--max-request-bytes).
_OCTETS_AT_ONCE = 1 << 20


def get_many(client: EtcdClient, paths: Iterable[str]) -> dict[str, KeyValue | None]:
    """Read keys, in few round trips; each transaction's keys are of one revision."""
    result: dict[str, KeyValue | None] = {}
    for some in _portions(sorted(paths), _READS_AT_ONCE):
        if not some:
            break
        if len(some) == 1:
            result[some[0]] = client.get(some[0])
            continue
        responses = client.txn((), [Get(path) for path in some]).responses
        for path, response in zip(some, responses, strict=True):
            assert isinstance(response, tuple)
            result[path] = response[0] if response else None
    return result


def write_portions(
    order: Iterable[Collection[str]], values: Mapping[str, bytes | None]
) -> list[list[str]]:
    """Return keys in portions of which each can be written in one transaction, in this order.

    Keys of different lists in ``order`` never share one. Of ``values`` only the size counts.
    """
    return [portion for paths in order for portion in _sized(paths, values)]


def _sized(paths: Iterable[str], values: Mapping[str, bytes | None]) -> list[list[str]]:
    portions: list[list[str]] = []
    room = 0
    for path in paths:
        octets = len(path) + len(values[path] or b"")
        if not portions or octets > room or len(portions[-1]) == _WRITES_AT_ONCE:
            portions.append([])
            room = _OCTETS_AT_ONCE
        portions[-1].append(path)
        room -= octets
    return portions


def _portions(items: list[str], size: int) -> Iterator[list[str]]:
    """Yield a list in portions; one empty portion for an empty list."""
    for start in range(0, max(len(items), 1), size):
        yield items[start : start + size]
