"""Neutron's subnets with DHCP, as its driver keeps them in etcd."""

from __future__ import annotations

from collections.abc import Iterator

import click
import msgspec

from calico_openstack.datamodel import DhcpSubnet, DhcpSubnetKey, parse_key
from calico_openstack.datamodel.keys import DHCP_PREFIX
from calico_openstack.etcd import EtcdClient


def stored_subnets(client: EtcdClient) -> Iterator[DhcpSubnet]:
    """Yield all subnets; of those that cannot be read, tell so. Raises `EtcdError`."""
    for page in client.iterate_prefix(DHCP_PREFIX):
        for kv in page.kvs:
            if isinstance(parse_key(kv.key), DhcpSubnetKey):
                try:
                    yield msgspec.json.decode(kv.value, type=DhcpSubnet)
                except (msgspec.MsgspecError, UnicodeError) as error:
                    click.echo(f"invalid: {kv.key}: {error}", err=True)
