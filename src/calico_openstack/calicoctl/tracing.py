"""``trace``: the rules that real packets meet, in the kernels of both hosts."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final

import click

from calico_openstack.agent.introspection.protocol import Answer, Question, Row
from calico_openstack.calicoctl import output
from calico_openstack.calicoctl.asking import ask_hosts
from calico_openstack.calicoctl.command_line import CONFIG, fail, open_client
from calico_openstack.calicoctl.ends import End, EndError, packet_of, packet_words
from calico_openstack.calicoctl.excerpt import excerpt
from calico_openstack.policy.packet import Packet

_FELIX: Final = "calico-felix"
_INTERVAL: Final = 0.5
_ROWS: Final = 4000
END: Final = "end of the chain"
"""What stands for the end of a chain, where other steps have a rule."""
# After the first packet was seen: the other host hears of it a moment later.
_AFTER: Final = 2.0


@click.command("trace")
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@click.argument("protocol", metavar="[PROTO[/PORT]]", default="icmp")
@click.option("--seconds", default=30.0, show_default=True, help="Wait so long for a packet.")
@click.option("-o", "--output", "form", default="ps", type=click.Choice(["ps", "json"]))
@CONFIG
def command(
    *, source: str, destination: str, protocol: str, seconds: float, form: str, config: str
) -> None:
    """Follow real packets from SRC to DST through the rules of the hosts' kernels.

    Have the source send some meanwhile (ping, curl): the first that is seen is shown, rule by rule,
    on each host, in Calico's tables and in others.
    """
    client = open_client(config)
    part = excerpt(client, source, destination)
    ends = part.source, part.destination
    packet = packet_of(protocol, *ends)
    nodes = [part.cluster.endpoints[end.endpoint].spec.node for end in ends if end.endpoint]
    hosts = list(dict.fromkeys(nodes))
    if not hosts:
        raise EndError("neither end is an endpoint of this cluster: no host's rules are met")
    question = Question(_FELIX, "trace", match_of(packet, *ends), _ROWS)
    click.echo(f"Waiting for {packet_words(packet)} on {', '.join(hosts)}", err=True)
    until = time.monotonic() + seconds
    answers: list[Answer] = []
    seen = False
    while time.monotonic() < until:
        answers = ask_hosts(client, [(host, question) for host in hosts])
        if not seen and any(answer.rows for answer in answers):
            seen = True
            until = min(until, time.monotonic() + _AFTER)
        time.sleep(_INTERVAL)
    found = {host: first(answer.rows) for host, answer in zip(hosts, answers, strict=False)}
    if form == "json":
        click.echo(output.as_json(found))
    for host, answer in zip(hosts, answers, strict=False):
        if answer.error:
            click.echo(f"{host}: {answer.error}", err=True)
        elif form == "ps":
            for text in lines(host, found[host]):
                click.echo(text)
    if not seen:
        fail(
            f"no such packet was seen within {seconds:g} s: does the source send it? On its host, "
            f"tcpdump -ni any host {ends[1].address} shows what arrives"
        )


def match_of(packet: Packet, source: End, destination: End) -> str:
    """Return what Felix's table of traces is asked for."""
    destinations = filter(None, (destination.address, destination.floating))
    words = [source.address, ",".join(destinations), str(packet.protocol)]
    if packet.destination_port is not None:
        words.append(str(packet.destination_port))
    return " ".join(words)


def first(rows: Sequence[Row]) -> list[Row]:
    """Return the steps of the first packet."""
    return [row for row in rows if row["packet"] == rows[0]["packet"]]


def lines(host: str, steps: Sequence[Row]) -> Iterator[str]:
    """Yield the way of a packet through the rules of a host."""
    yield ""
    if not steps:
        yield f"{host}: the packet did not come here"
        return
    yield f"{host}: {steps[0]['words']}"
    place = ""
    for step in filter(_matters, steps):
        if step["place"] != place:
            place = step["place"]
            by = f" in {step['incoming']}" if step["incoming"] else ""
            to = f" out {step['outgoing']}" if step["outgoing"] else ""
            yield f"  {place}{by}{to}"
        verdict = step["verdict"].partition(" ")[0]
        yield f"    {verdict.upper():<8} {step['rule']}"
    yield f"  {end_of(steps[-1])}"


def _matters(step: Row) -> bool:
    """Leave out the rules by which packets are traced, and ends of chains that decide nothing."""
    undecided = step["rule"] == END and step["verdict"] in ("", "continue")
    return not undecided and " calico-trace " not in f" {step['place']} "


def end_of(step: Row) -> str:
    """Return what became of a packet, by its last step on a host."""
    if step["verdict"] == "drop":
        return f"DROPPED there: {step['rule']}"
    return "left this host's rules without being dropped"
