"""Rows of tables from stored endpoints, a hundred thousand of them in seconds.

The usual form of an endpoint is checked in one go, and then shown as it is stored: for what tables
show of it that is the same as decoding it and writing it anew. Whatever looks unusual goes the long
way, so that what is invalid is told as ever.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from calico_openstack.calicoctl.kinds import Row
from calico_openstack.calicoctl.output import as_row
from calico_openstack.calicoctl.store import Store
from calico_openstack.datamodel import Resource, WorkloadEndpoint
from calico_openstack.datamodel.remote import RemoteEndpoints


class _Metadata(msgspec.Struct, gc=False):
    name: str
    namespace: str
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _Shown(msgspec.Struct, gc=False):
    metadata: _Metadata
    spec: msgspec.Raw


_SHOWN = msgspec.json.Decoder(_Shown)
_SPEC = msgspec.json.Decoder(dict)


def rows(store: Store, cls: type[Resource], namespace: str) -> Iterator[Row]:
    """Yield what tables can show of all resources of a kind; invalid ones are reported instead.

    Rows have no resource version. Raises `EtcdError`.
    """
    # No host has an empty name: the endpoints of all are those of others.
    reader = RemoteEndpoints("") if cls is WorkloadEndpoint else None
    for page in store.pages(cls, namespace):
        for kv in page:
            if reader is not None and reader.read(kv.key, kv.value) is not None:
                found = _SHOWN.decode(kv.value)
                metadata = found.metadata
                yield {
                    "metadata": {
                        "name": metadata.name,
                        "namespace": metadata.namespace,
                        "labels": metadata.labels,
                        "annotations": metadata.annotations,
                    },
                    "spec": _SPEC.decode(found.spec),
                }
            elif (resource := store.decoded(kv)) is not None:
                yield as_row(resource)
