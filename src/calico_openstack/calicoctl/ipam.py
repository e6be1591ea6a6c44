"""``ipam``: addresses. Neutron assigns them, so that here they are looked at only."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from ipaddress import ip_address

import click

from calico_openstack.calicoctl import address_use, output
from calico_openstack.calicoctl.address_use import Range, Use
from calico_openstack.calicoctl.command_line import CONFIG, open_client, open_store
from calico_openstack.calicoctl.lookup import endpoints_with
from calico_openstack.calicoctl.node_status import boxed
from calico_openstack.calicoctl.store import StoreError
from calico_openstack.calicoctl.subnets import stored_subnets
from calico_openstack.datamodel import (
    IPPool,
    WorkloadEndpoint,
)

_HEADINGS = ("GROUPING", "CIDR", "IPS TOTAL", "IPS IN USE", "IPS RESERVED", "IPS FREE")
_ANYTHING = {"ignore_unknown_options": True, "allow_extra_args": True}


@click.group()
def ipam() -> None:
    """Look at addresses, which Neutron assigns."""


@ipam.command()
@click.option("--ip", "address", default="", help="Who uses this address?")
@click.option("--show-blocks", is_flag=True, help="Refused: there are none.")
@click.option("--show-borrowed", is_flag=True, help="Refused: there are none.")
@click.option("--show-configuration", is_flag=True, help="Refused: there is none.")
@click.option("-o", "--output", "form", default="ps", type=click.Choice(["ps", "json"]))
@CONFIG
def show(
    *,
    address: str,
    show_blocks: bool,
    show_borrowed: bool,
    show_configuration: bool,
    form: str,
    config: str,
) -> None:
    """Show pools and Neutron's subnets with DHCP, and how many addresses of each are used."""
    if show_blocks or show_borrowed or show_configuration:
        raise StoreError(
            "there are no blocks, loans and settings of Calico IPAM in OpenStack: Neutron assigns "
            "addresses; see openstack subnet show, and calicoctl ipam show without options"
        )
    if address:
        for line in address_use.owner_lines(address, _ranges(config), _uses_of(config, address)):
            click.echo(line)
        return
    ranges, uses = _read(config)
    rows = list(address_use.utilisation(ranges, uses))
    if form == "json":
        click.echo(output.as_json([dict(zip(_HEADINGS, row, strict=True)) for row in rows]))
        return
    for line in boxed(_HEADINGS, rows, right=range(2, len(_HEADINGS))):
        click.echo(line)
    if not rows:
        click.echo("There are no IP pools, and no subnets with DHCP.", err=True)


@ipam.command()
@click.option("--show-all-ips", is_flag=True, help="List all addresses in use.")
@click.option("--fail-if-found", is_flag=True, help="Exit with 2 if there are problems.")
@CONFIG
def check(show_all_ips: bool, fail_if_found: bool, config: str) -> None:
    """Look for addresses that several ports have, and for those outside of pools and subnets."""
    ranges, uses = _read(config)
    click.echo(f"Checking {len(uses)} address(es) in use, {len(ranges)} pool(s) and subnet(s).")
    if show_all_ips:
        for use in sorted(uses, key=lambda each: (each.address.version, int(each.address))):
            click.echo(f"  {use.address} {use.how} of port {use.port} on {use.host}")
    count = 0
    for problem in address_use.problems(ranges, uses):
        click.echo(problem)
        count += 1
    click.echo(f"Check complete; found {count} problems.")
    if count and fail_if_found:
        sys.exit(2)


@ipam.command(context_settings=_ANYTHING)
def release() -> None:
    """Refused: addresses belong to ports of Neutron."""
    raise StoreError(
        "addresses are assigned by Neutron: delete the port (openstack port delete) or take the "
        "address from it (openstack port unset --fixed-ip); calicoctl ipam show --ip names the port"
    )


@ipam.command(context_settings=_ANYTHING)
def configure() -> None:
    """Refused: Neutron's subnets say what is assigned."""
    raise StoreError(
        "addresses are assigned by Neutron: see openstack subnet set --allocation-pool, and the "
        "quotas of projects"
    )


@ipam.command(context_settings=_ANYTHING)
def split() -> None:
    """Refused: no block of addresses belongs to a pool."""
    raise StoreError(
        "pools hold no addresses in OpenStack: create the smaller pools with calicoctl apply and "
        "delete the large one"
    )


def _read(config: str) -> tuple[Sequence[Range], Sequence[Use]]:
    listed = open_store(config).listed(WorkloadEndpoint)
    endpoints = (each for each in listed if isinstance(each, WorkloadEndpoint))
    return _ranges(config), list(address_use.uses_of(endpoints))


def _ranges(config: str) -> Sequence[Range]:
    listed = open_store(config).listed(IPPool)
    pools = (each for each in listed if isinstance(each, IPPool))
    return address_use.ranges_of(pools, stored_subnets(open_client(config)))


def _uses_of(config: str, address: str) -> Iterator[Use]:
    """Yield the uses of an address, and of others that the same endpoints have."""
    try:
        usual = str(ip_address(address))
    except ValueError:
        raise StoreError(f"'{address}' is no address: give one, for example 10.65.0.11") from None
    return address_use.uses_of(endpoints_with(open_client(config), usual).values())
