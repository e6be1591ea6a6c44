"""Neutron's subnets with DHCP, as its driver keeps them in etcd."""

from __future__ import annotations

from collections.abc import Iterator

import click

from calico_openstack.datamodel import DhcpSubnet, DhcpSubnetKey, Invalid, decode
from calico_openstack.datamodel.keys import DHCP_PREFIX
from calico_openstack.etcd import EtcdClient


def stored_subnets(client: EtcdClient) -> Iterator[DhcpSubnet]:
    """Yield all subnets; of those that cannot be read, tell so. Raises `EtcdError`."""
    for page in client.iterate_prefix(DHCP_PREFIX):
        for kv in page.kvs:
            match decode(kv.key, kv.value):
                case DhcpSubnet() as subnet:
                    yield subnet
                case Invalid(key=DhcpSubnetKey()) as invalid:
                    click.echo(f"invalid: {invalid}", err=True)
