"""Packets that are dropped or followed, as tables; see `trace_watch`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from calico_openstack.agent.introspection.protocol import Row
from calico_openstack.felix.calc import HostState
from calico_openstack.felix.drops import DropLog
from calico_openstack.felix.journeys import JourneyLog, Passed
from calico_openstack.felix.kernel.arrivals import Arrivals
from calico_openstack.felix.kernel.followed_packets import followed_in, following
from calico_openstack.felix.kernel.packet_tracing import PacketTracing, TracedStep, sampling
from calico_openstack.felix.render.dataplane import DesiredDataplane
from calico_openstack.felix.render.nft_text import rule_text
from calico_openstack.felix.trace_watch import TraceWatch, tidy
from calico_openstack.policy.packet import Direction


def dropped(state: HostState, prefixes: Sequence[str]) -> Callable[[str], Iterable[Row]]:
    """Return the table of packets that are dropped; *prefixes* are those of instances."""
    tidy()
    watch = TraceWatch(sampling(prefixes), lambda tracing: DropLog(tracing.comment))

    def rows(_match: str) -> Iterator[Row]:
        endpoints = {each.interface: each for each in state.endpoints.values()}
        for drop in watch.entries():
            # The end that refused is the sender's until its egress policy has allowed it.
            wanted = drop.outgoing if drop.direction == "ingress" else drop.incoming
            endpoint = endpoints.get(wanted)
            tiers = endpoint.policy.tiers if endpoint else ()
            direction = Direction(drop.direction)
            asked = [key.name for tier in tiers for key in tier.policies(direction)]
            yield {
                "number": str(drop.number),
                "time": f"{drop.time:.3f}",
                "count": str(drop.count),
                "reason": drop.reason,
                "packet": drop.packet,
                "direction": drop.direction,
                "interface": wanted,
                "port": endpoint.spec.endpoint if endpoint else "",
                "rule": drop.rule,
                "policies": ",".join(asked),
            }

    return rows


def followed(state: HostState, desired: DesiredDataplane) -> Callable[[str], Iterable[Row]]:
    """Return the table of the rules that packets meet; see `followed_in` for what is asked.

    Other packets end the watch for the last ones.
    """
    watches: dict[str, TraceWatch[Passed]] = {}

    def rows(match: str) -> Iterator[Row]:
        if match not in watches:
            new = _watch(state, desired, match, next(iter(watches.values()), None))
            watches.clear()
            watches[match] = new
        for step in watches[match].entries():
            yield {
                "packet": step.packet,
                "way": step.way,
                "time": f"{step.time:.3f}",
                "words": step.words,
                "place": step.place,
                "rule": step.rule,
                "verdict": step.verdict,
                "incoming": step.incoming,
                "outgoing": step.outgoing,
            }

    return rows


def _watch(
    state: HostState, desired: DesiredDataplane, match: str, after: TraceWatch[Passed] | None
) -> TraceWatch[Passed]:
    wanted = followed_in(match)
    ends = {*wanted.sources, *wanted.destinations}
    taps = [e.interface for e in state.endpoints.values() if not ends.isdisjoint(e.addresses)]

    def make_log(tracing: PacketTracing) -> JourneyLog:
        arrivals = Arrivals(taps, wanted) if wanted.token is not None else None
        return JourneyLog(wanted, lambda step: _text(desired, tracing, step), arrivals)

    return TraceWatch(following(wanted), make_log, after)


def _text(desired: DesiredDataplane, tracing: PacketTracing, step: TracedStep) -> str:
    """Return the rule of a step: as we want it, if it is ours, and its comment."""
    comment, position = tracing.comment(step), tracing.position(step)
    table = desired.ruleset.get(step.table) if step.table else None
    chain = table.chains.get(step.chain) if table else None
    text = ""
    if chain is not None and position is not None and position < len(chain.rules):
        text = rule_text(chain.rules[position])
    return " # ".join(filter(None, (text, comment))) or f"rule with handle {step.handle}"
