"""``explain``: reads what matters to two ends and tells what becomes of their packets."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

import click
import msgspec

from calico_openstack.calicoctl import output
from calico_openstack.calicoctl.command_line import AS, CONFIG, open_client
from calico_openstack.calicoctl.ends import packet_of
from calico_openstack.calicoctl.excerpt import excerpt
from calico_openstack.calicoctl.explanation import Explanation, explain
from calico_openstack.calicoctl.kernels import HostView, look
from calico_openstack.calicoctl.naming import directory_of, readable
from calico_openstack.calicoctl.picture import picture

_MARKS: Final = {True: "allowed", False: "REFUSED", None: "goes on"}


@click.command("explain")
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@click.argument("protocol", metavar="[PROTO[/PORT]]", default="icmp")
@click.option("-o", "--output", "form", default="ps", type=click.Choice(["ps", "json", "yaml"]))
@click.option("--fail-if-refused", is_flag=True, help="Exit with 2 if the packet is refused.")
@click.option("--model-only", is_flag=True, help="Do not ask what the hosts' kernels have.")
@AS
@CONFIG
def command(
    *,
    source: str,
    destination: str,
    protocol: str,
    form: str,
    fail_if_refused: bool,
    model_only: bool,
    config: str,
) -> None:
    """Tell why packets from SRC to DST get through or not.

    SRC and DST are addresses, floating IPs or networks, or ports, instances and guests by id or
    name. PROTO[/PORT] is for example tcp/443, udp/53, icmp (the default) or a number. What is
    configured decides; the Felix of each host concerned is asked what its kernel has of it.
    """
    client = open_client(config)
    part = excerpt(client, source, destination)
    ends = part.source, part.destination
    found = explain(part.resources, part.cluster, packet_of(protocol, *ends), *ends)
    if not model_only:
        names = directory_of(part.cluster.endpoints.values())
        hosts = tuple(
            msgspec.structs.replace(
                host, faults=tuple(readable(fault, names) for fault in host.faults)
            )
            for host in look(client, part.cluster.endpoints, *ends)
        )
        found = msgspec.structs.replace(found, hosts=hosts)
    if form == "json":
        click.echo(output.as_json(msgspec.to_builtins(found)))
    elif form == "yaml":
        click.echo(output.as_yaml(msgspec.to_builtins(found)))
    else:
        for line in lines(found):
            click.echo(line)
    if fail_if_refused and not found.passes:
        sys.exit(2)


def lines(found: Explanation) -> Iterator[str]:
    """Yield an explanation as text."""
    yield found.packet
    yield f"from {found.ends[0]}"
    yield f"to   {found.ends[1]}"
    yield from (f"note: {note}" for note in found.notes)
    yield ""
    yield from picture(found)
    for number, stage in enumerate(found.stages, 1):
        yield ""
        yield f"{number}. {stage.host}: {stage.place} ({stage.direction}): {_MARKS[stage.allowed]}"
        yield f"   {stage.words}"
        if stage.policy and stage.security_group:
            yield f"   {stage.policy}"
    if found.hosts:
        yield ""
    for host in found.hosts:
        yield from _kernel(host)
    yield ""
    yield from _verdict(found)


def _kernel(host: HostView) -> Iterator[str]:
    if host.unknown:
        yield f"Kernel of {host.host}: not known ({host.unknown})"
    elif not host.faults:
        yield f"Kernel of {host.host}: has all of it ({host.compared} things were compared)"
    else:
        yield f"Kernel of {host.host}: is NOT as it should be"
        yield from (f"   {fault}" for fault in host.faults)


def _verdict(found: Explanation) -> Iterator[str]:
    refusals = [stage for stage in found.stages if stage.allowed is False]
    faulty = [host for host in found.hosts if host.faults]
    unknown = [host for host in found.hosts if host.unknown]
    if refusals:
        yield "The packet does NOT get through. To let it pass:"
        yield from (f"  {stage.remedy}" for stage in refusals if stage.remedy)
    if faulty:
        yield (
            "A kernel is at fault too. To find out why:"
            if refusals
            else "The packet is allowed, but does NOT get through: a kernel is at fault. See:"
        )
        yield from (f"  {host.remedy}" for host in faulty)
    if refusals or faulty:
        return
    if unknown:
        yield "The packet is allowed, and so are the answers to it. Not all kernels are known; see:"
        yield from dict.fromkeys(f"  {host.remedy}" for host in unknown)
    else:
        yield "The packet gets through, and so do the answers to it."
