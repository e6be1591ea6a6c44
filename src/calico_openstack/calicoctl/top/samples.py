"""What hosts count, and the rates between two counts. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from msgspec import Struct, field

from calico_openstack.agent.introspection.protocol import MOST_ROWS, Answer, Question

_FELIX: Final = "calico-felix"
_BITS: Final = 8
QUESTIONS: Final[Mapping[str, Question]] = {
    "traffic": Question(_FELIX, "traffic", "", MOST_ROWS),
    "activity": Question(_FELIX, "activity"),
    "queues": Question(_FELIX, "queues"),
    "host": Question(_FELIX, "host"),
    "down": Question(_FELIX, "endpoints", "down", 1),
}
"""What a host is asked, by name."""

_FLOWS: Final = "net/netfilter/nf_conntrack_count"


class Sample(Struct, frozen=True):
    """What a host said at *time* (its own clock, seconds); with *error* it said nothing more."""

    host: str
    time: float = 0.0
    ports: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    interfaces: Mapping[str, str] = field(default_factory=dict)
    activity: Mapping[str, float] = field(default_factory=dict)
    flows: int = 0
    waiting: int = 0
    down: int = 0
    error: str = ""


class HostRates(Struct, frozen=True):
    """A host: bits and updates a second; *lag* are the seconds that a change took on average.

    None is what is not known yet, as a rate after the first sample.
    """

    host: str
    endpoints: int = 0
    down: int = 0
    flows: int = 0
    sent: float | None = None
    received: float | None = None
    updates: float | None = None
    lag: float | None = None
    waiting: int = 0
    error: str = ""


class PortRates(Struct, frozen=True):
    """A port: bits and packets a second from its instance (sent) and to it, and drops a second."""

    host: str
    port: str
    interface: str
    sent: float
    received: float
    sent_packets: float
    received_packets: float
    dropped: float


def sample_of(host: str, answers: Mapping[str, Answer]) -> Sample:
    """Return what the answers to `QUESTIONS` say."""
    for answer in answers.values():
        if answer.error:
            return Sample(host, error=answer.error)
    facts = {row["what"]: row["value"] for row in answers["host"].rows}
    counts, interfaces = {}, {}
    for row in answers["traffic"].rows:
        counts[row["port"]] = {
            name: int(value) for name, value in row.items() if value.isdecimal() and name != "port"
        }
        interfaces[row["port"]] = row["interface"]
    flows = facts.get(_FLOWS, "")
    return Sample(
        host,
        float(facts.get("time", 0)),
        counts,
        interfaces,
        {row["what"]: float(row["value"]) for row in answers["activity"].rows},
        int(flows) if flows.isdecimal() else 0,
        sum(int(row["waiting"]) for row in answers["queues"].rows),
        answers["down"].total,
    )


def port_rates(before: Sample, after: Sample) -> Iterator[PortRates]:
    """Yield the rates of the ports that both samples have.

    A count that went back, as an interface was made anew, makes no rate.
    """
    seconds = after.time - before.time
    if seconds <= 0:
        return
    for port, now in after.ports.items():
        was = before.ports.get(port)
        if was is None or any(now[name] < was.get(name, 0) for name in now):
            continue
        rate = {name: (count - was.get(name, 0)) / seconds for name, count in now.items()}
        yield PortRates(
            after.host,
            port,
            after.interfaces[port],
            rate["from bytes"] * _BITS,
            rate["to bytes"] * _BITS,
            rate["from packets"],
            rate["to packets"],
            rate["dropped"],
        )


def host_rates(before: Sample | None, after: Sample) -> HostRates:
    """Return a host's rates."""
    if after.error:
        return HostRates(after.host, error=after.error)
    known = HostRates(
        after.host,
        len(after.ports),
        after.down,
        after.flows,
        waiting=after.waiting,
    )
    if before is None or before.error or after.time <= before.time:
        return known
    seconds = after.time - before.time
    done = {name: value - before.activity.get(name, 0) for name, value in after.activity.items()}
    if any(value < 0 for value in done.values()):
        return known  # Felix was started anew
    ports = list(port_rates(before, after))
    return HostRates(
        known.host,
        known.endpoints,
        known.down,
        known.flows,
        sum(each.sent for each in ports),
        sum(each.received for each in ports),
        done.get("updates", 0) / seconds,
        _average(done, "seconds of calculation", "batches")
        + _average(done, "seconds of programming", "applies"),
        known.waiting,
    )


def _average(done: Mapping[str, float], total: str, number: str) -> float:
    return done.get(total, 0) / done[number] if done.get(number) else 0.0
