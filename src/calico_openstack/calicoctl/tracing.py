"""``trace``: the rules that a probe, or a real packet, meets in the kernels of both hosts."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

import click

from calico_openstack.agent.introspection.protocol import Answer, Question
from calico_openstack.calicoctl import journey, output
from calico_openstack.calicoctl.asking import ask_hosts
from calico_openstack.calicoctl.command_line import AS, CONFIG, fail, note, open_client
from calico_openstack.calicoctl.ends import End, EndError, packet_of, packet_words
from calico_openstack.calicoctl.excerpt import Excerpt, excerpt
from calico_openstack.calicoctl.journey import BACK, THERE, Outcome, Route
from calico_openstack.calicoctl.wording import groups_of
from calico_openstack.datamodel.protocols import ICMP, ICMPV6
from calico_openstack.etcd import EtcdClient
from calico_openstack.policy.packet import Packet

_FELIX: Final = "calico-felix"
_ROWS: Final = 4000
_INTERVAL: Final = 0.5
_PATIENCE: Final = {True: 10.0, False: 30.0}
# After a packet was seen: the other host hears of it a moment later, and so comes its answer.
_AFTER: Final = 2.5
_PROBES: Final = 3
_BETWEEN_PROBES: Final = 1.5
# Above what Linux gives to connections by itself (ip_local_port_range).
_TOKENS: Final = (61000, 65535)
_ECHO_REQUESTS: Final = {ICMP: 8, ICMPV6: 128}
_TCP, _UDP = 6, 17


@click.command("trace")
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@click.argument("protocol", metavar="[PROTO[/PORT]]", default="icmp")
@click.option(
    "--probe/--no-probe",
    default=True,
    help="Send a probe (the default), or wait for a packet that the source sends itself.",
)
@click.option(
    "--seconds", type=float, help="Wait so long for a packet (default: 10, without probe 30)."
)
@click.option("--fail-if-lost", is_flag=True, help="Exit with 2 unless the packet arrived.")
@click.option("-o", "--output", "form", default="ps", type=click.Choice(["ps", "json"]))
@AS
@CONFIG
def command(
    *,
    source: str,
    destination: str,
    protocol: str,
    probe: bool,
    seconds: float | None,
    fail_if_lost: bool,
    form: str,
    config: str,
) -> None:
    """Follow a probe from SRC to DST through the rules of the hosts' kernels.

    The source's host takes a packet for received from the instance, so it meets all that the
    instance's own packets meet: an echo request, a TCP SYN or a short UDP datagram to the port.
    DST's guest sees it, and may answer; SRC's guest gets the answer, which it did not ask for, and
    refuses it. It is shown rule by rule, on each host, in Calico's tables and in others, and so is
    the answer.
    """
    client = open_client(config)
    part = excerpt(client, source, destination)
    packet = packet_of(protocol, part.source, part.destination)
    route = _route(part, probe=probe)
    if not route.hosts:
        raise EndError(
            "neither end is an endpoint of this cluster, so no host's rules are met: name a port, "
            "instance or address of it (calicoctl get wep -A)"
        )
    if probe and not route.probe:
        note("The source is outside of this cluster: waiting for what it sends")
    if route.probe:
        _check_probe(packet, protocol)
    token = random.randint(*_TOKENS) if route.probe else None
    match = match_of(packet, part.source, part.destination, token)
    patience = _PATIENCE[route.probe] if seconds is None else seconds
    what = "Sending" if route.probe else "Waiting for"
    note(f"{what} {packet_words(packet)} on {', '.join(route.hosts)}")
    answers = _follow(client, route, match, patience)
    _tell(part, route, answers, form, fail_if_lost=fail_if_lost)


def _route(part: Excerpt, *, probe: bool) -> Route:
    places = [
        (spec.node, spec.interface_name) if spec else ("", "")
        for spec in (
            part.cluster.endpoints[end.endpoint].spec if end.endpoint else None
            for end in (part.source, part.destination)
        )
    ]
    (source, source_tap), (destination, destination_tap) = places
    return Route(source, source_tap, destination, destination_tap, probe and bool(source))


def _check_probe(packet: Packet, text: str) -> None:
    if packet.icmp_type is not None:
        if packet.icmp_type == _ECHO_REQUESTS[packet.protocol]:
            return
        raise EndError(f"{text}: probes of ICMP are echo requests; --no-probe follows others")
    if packet.protocol not in (_TCP, _UDP):
        raise EndError(
            f"{text}: probes are of tcp, udp and icmp; --no-probe follows what the source sends"
        )


def match_of(packet: Packet, source: End, destination: End, token: int | None = None) -> str:
    """Return what Felix's table of traces is asked for; with a *token* only a probe's packets.

    The first destination is the one to which the source sends.
    """
    destinations = filter(None, (destination.floating, destination.address))
    words = [source.address, ",".join(destinations), str(packet.protocol)]
    if packet.destination_port is not None:
        words.append(str(packet.destination_port))
    elif token is not None:
        words.append("-")
    return " ".join(words if token is None else [*words, str(token)])


def _follow(client: EtcdClient, route: Route, match: str, patience: float) -> Mapping[str, Answer]:
    """Ask the hosts until the packet's end is known, and have probes sent; raises `EtcdError`."""
    question = Question(_FELIX, "trace", match, _ROWS)
    deadline = time.monotonic() + patience
    left = _PROBES if route.probe else 0
    next_probe = time.monotonic() + _INTERVAL
    seen = False
    while True:
        asked = ask_hosts(client, [(host, question) for host in route.hosts])
        answers = dict(zip(route.hosts, asked, strict=True))
        now = time.monotonic()
        refused = answers.get(route.source_host)
        if route.probe and refused is not None and refused.error:
            fail(f"{route.source_host}, the host of the source: {refused.error}")
        found = journey.outcome({host: each.rows for host, each in answers.items()}, route)
        if not seen and any(each.rows for each in asked):
            seen = True
            deadline = min(deadline, now + (_BETWEEN_PROBES * left + _AFTER))
        if found.over or now >= deadline:
            return answers
        # A host may have begun to follow packets after the one before.
        if left and now >= next_probe and not found.arrived:
            left -= 1
            next_probe = now + _BETWEEN_PROBES
            if left == 0:
                deadline = min(deadline, now + _AFTER)
            _send_probe(client, route, match)
        elif found.arrived:
            deadline = min(deadline, now + _AFTER)
        time.sleep(_INTERVAL)


def _send_probe(client: EtcdClient, route: Route, match: str) -> None:
    question = Question(_FELIX, "probe", f"{route.source_tap} {match}")
    (answer,) = ask_hosts(client, [(route.source_host, question)])
    result = answer.error or (answer.rows[0]["result"] if answer.rows else "no answer")
    if result != "sent" and "under way" not in result:
        fail(f"{route.source_host}, the host of the source: the probe was {result}")


def _tell(
    part: Excerpt, route: Route, answers: Mapping[str, Answer], form: str, *, fail_if_lost: bool
) -> None:
    seen = {host: answer.rows for host, answer in answers.items()}
    found = journey.outcome(seen, route)
    if form == "json":
        ways = {
            host: {way: journey.first(rows, way) for way in (THERE, BACK)}
            for host, rows in seen.items()
        }
        told = {"arrived": found.arrived, "answered": found.answered, "words": found.words}
        click.echo(output.as_json({"hosts": ways, **told}))
    else:
        _print(part, route, answers, found)
    for host, answer in answers.items():
        if answer.error:
            click.echo(f"{host}: {answer.error}", err=True)
    if not any(seen.values()) and not route.probe:
        fail(
            "no such packet was seen: does the source send it? On its host, tcpdump -ni any host "
            f"{part.destination.address} shows what arrives"
        )
    if fail_if_lost and not found.arrived:
        sys.exit(2)


def _print(part: Excerpt, route: Route, answers: Mapping[str, Answer], found: Outcome) -> None:
    titles = _titles(part)
    for host, answer in answers.items():
        if not answer.error:
            for text in journey.lines(host, journey.first(answer.rows), titles):
                click.echo(text)
    backward = [(host, journey.first(answers[host].rows, BACK)) for host in reversed(route.hosts)]
    if any(steps for _, steps in backward):
        click.echo("\nThe answer:")
        for host, steps in backward:
            for text in journey.lines(host, steps, titles):
                click.echo(text)
    if found.words:
        click.echo("")
    for sentence in found.words:
        click.echo(sentence)


def _titles(part: Excerpt) -> Mapping[str, str]:
    """Return the titles of the security groups of both ends, by their policies."""
    keys = (end.endpoint for end in (part.source, part.destination) if end.endpoint)
    labels: Sequence[Mapping[str, str]] = [
        part.cluster.endpoints[key].metadata.labels for key in keys
    ]
    return {policy: group.title for each in labels for policy, group in groups_of(each).items()}
