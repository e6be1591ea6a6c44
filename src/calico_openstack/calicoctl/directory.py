"""The names of Neutron that are in etcd, read as quickly as possible."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import click
import msgspec

from calico_openstack.calicoctl.naming import Directory, Named, directory_of
from calico_openstack.datamodel import WorkloadEndpoint, prefix_of
from calico_openstack.datamodel.invalid import UNREADABLE
from calico_openstack.etcd import EtcdClient, EtcdError
from calico_openstack.etcd.records import KeyValue

_A_PAGE: Final = 10_000
_DECODER: Final = msgspec.json.Decoder(Named)


def stored_names(client: EtcdClient) -> Directory:
    """Return the names that all endpoints tell; raises `EtcdError`."""
    pages = client.iterate_prefix(prefix_of(WorkloadEndpoint.KIND), page_size=_A_PAGE)
    return directory_of(named(kv for page in pages for kv in page.kvs))


def names_if_known(client: EtcdClient) -> Directory:
    """Return the names that all endpoints tell; none, and a word of it, if etcd is away."""
    try:
        return stored_names(client)
    except EtcdError as error:
        click.echo(f"ids are shown, as names are not known: {error}", err=True)
        return Directory()


def named(stored: Iterable[KeyValue]) -> Iterator[Named]:
    """Yield stored endpoints as far as names go; what cannot be read has none."""
    for kv in stored:
        try:
            yield _DECODER.decode(kv.value)
        except UNREADABLE:
            continue
