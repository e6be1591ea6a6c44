"""``explain``: reads what matters to two ends and tells what becomes of their packets."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

import click
import msgspec

from calico_openstack.calicoctl import output
from calico_openstack.calicoctl.command_line import CONFIG, open_client
from calico_openstack.calicoctl.ends import packet_of
from calico_openstack.calicoctl.excerpt import excerpt
from calico_openstack.calicoctl.explanation import Explanation, Stage, explain
from calico_openstack.etcd import EtcdClient

_MARKS: Final = {True: "allowed", False: "REFUSED", None: "goes on"}


@click.command("explain")
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@click.argument("protocol", metavar="[PROTO[/PORT]]", default="icmp")
@click.option("-o", "--output", "form", default="ps", type=click.Choice(["ps", "json", "yaml"]))
@click.option("--fail-if-refused", is_flag=True, help="Exit with 2 if the packet is refused.")
@CONFIG
def command(
    *,
    source: str,
    destination: str,
    protocol: str,
    form: str,
    fail_if_refused: bool,
    config: str,
) -> None:
    """Tell why packets from SRC to DST get through or not, by what is configured.

    SRC and DST are addresses, floating IPs or networks, or ports, instances and guests by id or
    name. PROTO[/PORT] is for example tcp/443, udp/53, icmp (the default) or a number.
    """
    found = _explained(open_client(config), source, destination, protocol)
    if form == "json":
        click.echo(output.as_json(msgspec.to_builtins(found)))
    elif form == "yaml":
        click.echo(output.as_yaml(msgspec.to_builtins(found)))
    else:
        for line in lines(found):
            click.echo(line)
    if fail_if_refused and not found.allowed:
        sys.exit(2)


def _explained(client: EtcdClient, source: str, destination: str, protocol: str) -> Explanation:
    found = excerpt(client, source, destination)
    ends = found.source, found.destination
    return explain(found.resources, found.cluster, packet_of(protocol, *ends), *ends)


def lines(found: Explanation) -> Iterator[str]:
    """Yield an explanation as text."""
    yield found.packet
    yield f"from {found.ends[0]}"
    yield f"to   {found.ends[1]}"
    yield from (f"note: {note}" for note in found.notes)
    for number, stage in enumerate(found.stages, 1):
        yield ""
        yield f"{number}. {stage.host}: {stage.place} ({stage.direction}): {_MARKS[stage.allowed]}"
        yield f"   {stage.words}"
        if stage.policy and stage.security_group:
            yield f"   {stage.policy}"
    yield ""
    refusals: list[Stage] = [stage for stage in found.stages if stage.allowed is False]
    if not refusals:
        yield "The packet gets through, and so do the answers to it."
        return
    yield "The packet does NOT get through. To let it pass:"
    yield from (f"  {stage.remedy}" for stage in refusals if stage.remedy)
