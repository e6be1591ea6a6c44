"""The way of a followed packet in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from calico_openstack.agent.introspection.protocol import Row

THERE, BACK = "there", "back"
END: Final = "end of the chain"
"""What stands for the end of a chain, where other steps have a rule."""
ARRIVED: Final = "arrived"
# The tables by which packets are traced, for this and for drops.
_OURS: Final = frozenset({"calico-trace", "calico-drops"})
_REFUSALS: Final = ("RST", "unreachable")


class Route(Struct, frozen=True):
    """The hosts on a packet's way, in their order, and the interfaces of its ends.

    "" for the host and interface of an end that is outside. *probe*: the packet was sent for this.
    """

    source_host: str
    source_tap: str
    destination_host: str
    destination_tap: str
    probe: bool

    @property
    def hosts(self) -> list[str]:
        """The hosts, each once."""
        return list(dict.fromkeys(filter(None, (self.source_host, self.destination_host))))


Seen = Mapping[str, Sequence[Row]]
"""The rows of the hosts, in the order of the way."""


class Outcome(Struct, frozen=True):
    """What became of a packet, in sentences; None is what is not known.

    *over*: nothing more is to be expected, or only an answer that may never come.
    """

    words: tuple[str, ...]
    arrived: bool | None
    answered: bool | None = None
    over: bool = False


def first(rows: Sequence[Row], way: str = THERE) -> list[Row]:
    """Return the steps of the first packet that went one way, and its arrival."""
    of_way = [row for row in rows if row.get("way", THERE) == way]
    steps = [row for row in of_way if row["verdict"] != ARRIVED]
    arrivals = [row for row in of_way if row["verdict"] == ARRIVED]
    return [row for row in steps if row["packet"] == steps[0]["packet"]] + arrivals[:1]


def lines(host: str, steps: Sequence[Row], titles: Mapping[str, str]) -> Iterator[str]:
    """Yield the way of a packet through the rules of a host; *titles* are those of policies."""
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
            yield f"  {place}{by}{to}" if step["verdict"] != ARRIVED else f"  {place}"
        verdict = step["verdict"].partition(" ")[0]
        yield f"    {verdict.upper():<8} {entitled(step['rule'], titles)}"
    yield f"  {end_of(steps)}"


def entitled(rule: str, titles: Mapping[str, str]) -> str:
    """Return a rule with the names of the security groups that it is of."""
    found = [title for policy, title in titles.items() if f"/{policy}" in rule]
    return f"{rule} ({', '.join(found)})" if found else rule


def _matters(step: Row) -> bool:
    """Leave out the rules by which packets are traced, and ends of chains that decide nothing."""
    undecided = step["rule"] == END and step["verdict"] in ("", "continue")
    return not undecided and _OURS.isdisjoint(step["place"].split())


def end_of(steps: Sequence[Row]) -> str:
    """Return what became of a packet on a host."""
    last = steps[-1]
    if last["verdict"] == "drop":
        return f"DROPPED there: {last['rule']}"
    if last["verdict"] == ARRIVED:
        return f"arrived at {last['outgoing']}"
    by = f" by {last['outgoing']}" if last["outgoing"] else ""
    return f"left this host's rules{by} without being dropped"


def outcome(seen: Seen, route: Route) -> Outcome:
    """Return what became of a packet and of the answer to it."""
    there = {host: first(seen.get(host, ())) for host in route.hosts}
    for host, steps in there.items():
        if steps and steps[-1]["verdict"] == "drop":
            return Outcome((f"DROPPED on {host}: {steps[-1]['rule']}",), arrived=False, over=True)
    if not any(there.values()):
        return Outcome(_unseen(route), arrived=None)
    left = there.get(route.source_host)
    by = left[-1]["outgoing"] if left else ""
    if left and not by and not there.get(route.destination_host):
        return _stuck(route)
    if route.destination_host:
        return _inside(seen, there, route)
    words = f"It left {route.source_host} by {by}, for the outside"
    return _with_answer(seen, route, words, arrived=None)


def _inside(seen: Seen, there: Seen, route: Route) -> Outcome:
    """Return what became of a packet to an endpoint of this cluster, which no rule dropped."""
    steps = there[route.destination_host]
    if not steps:
        words = (
            f"It left {route.source_host} by {there[route.source_host][-1]['outgoing']}, but was "
            f"not seen on {route.destination_host}: look at what is between them (calicoctl "
            "doctor; calicoctl node status on both; tcpdump on the uplink of the other)"
        )
        return Outcome((words,), arrived=False)
    if not route.probe:
        return Outcome(("No rule dropped it",), arrived=None, over=True)
    if steps[-1]["verdict"] != ARRIVED:
        words = (
            f"The rules of {route.destination_host} let it pass, but it was not handed to "
            f"{route.destination_tap}: calicoctl show programming {route.destination_tap} --node "
            f"{route.destination_host} tells of routes and neighbours"
        )
        return Outcome((words,), arrived=False)
    arrived = f"It arrived: it was handed to {route.destination_tap} of {route.destination_host}"
    return _with_answer(seen, route, arrived, arrived=True)


def _unseen(route: Route) -> tuple[str, ...]:
    if route.probe:
        tap = route.source_tap
        return (
            f"No rule of {route.source_host} met the probe: something in front of nftables took "
            f"it. See there: tc filter show dev {tap} ingress; ip -d link show {tap} (a bridge, an "
            "XDP program)",
        )
    return ()


def _stuck(route: Route) -> Outcome:
    words = (
        f"It passed the first rules of {route.source_host} and was not forwarded: no route, or it "
        f"is for that host itself (calicoctl explain tells the way that its kernel would take)"
    )
    return Outcome((words,), arrived=False)


def _is_by_others(step: Row) -> bool:
    """Tell whether an answer says that the other end was not reached.

    Of the reasons of "destination unreachable" only that of a closed port is its own (code 3 of
    RFC 792, code 4 of RFC 4443).
    """
    closed = 4 if step["place"].startswith("ip6 ") else 3
    return "unreachable" in step["words"] and f"code {closed})" not in step["words"]


def _with_answer(seen: Seen, route: Route, words: str, *, arrived: bool | None) -> Outcome:
    """Return what became of the answer of a packet that arrived, or left for the outside."""
    for host in reversed(route.hosts):
        steps = first(seen.get(host, ()), BACK)
        if steps and steps[-1]["verdict"] == "drop":
            dropped = f"The answer to it was DROPPED on {host}: {steps[-1]['rule']}"
            return Outcome((words, dropped), arrived, answered=False, over=True)
    back = first(seen.get(route.source_host, ()), BACK)
    if back and back[-1]["verdict"] == ARRIVED:
        kind = back[-1]["words"].strip()
        told = f"It was answered {kind}".strip() + f", which arrived at {route.source_tap}"
        if _is_by_others(back[0]):
            told += (
                f": {back[0]['words'].partition(' -> ')[0]} says that it cannot be reached; see "
                "the routes and filters there"
            )
        elif any(each in kind for each in _REFUSALS):
            told += ": the other end was reached, and refuses (nothing listens there?)"
        return Outcome((words, told), arrived, answered=True, over=True)
    begun = [host for host in reversed(route.hosts) if first(seen.get(host, ()), BACK)]
    if begun:
        told = f"An answer was seen on {begun[-1]}, but did not arrive at {route.source_tap}"
    else:
        told = "There was no answer: does the guest listen there, has it a firewall of its own?"
    return Outcome((words, told), arrived, answered=False)
