"""The way of single packets through the rules of a host, step by step. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol

from msgspec import Struct, field

from calico_openstack.felix.drops import packet_text
from calico_openstack.felix.kernel.followed_packets import (
    Followed,
    Headers,
    Way,
    headers_in,
    kind_of,
)
from calico_openstack.felix.kernel.packet_tracing import TracedStep

ARRIVED: Final = "arrived"
"""The verdict, and what stands for the packet's number, where one reached an interface."""
_OTHERS: Final = {1: "inet", 5: "netdev", 7: "bridge"}  # NFPROTO_*
_MOST_PACKETS: Final = 20
_MOST_STEPS: Final = 200
_MOST_ARRIVALS: Final = 20


class Passed(Struct, frozen=True):
    """A rule that a packet met, as text, with the verdict and where the packet was then."""

    packet: str
    way: str
    words: str
    time: float
    place: str
    rule: str
    verdict: str
    incoming: str
    outgoing: str


class Watched(Protocol):
    """What sees packets reach interfaces; see `kernel.arrivals`."""

    def seen(self) -> Iterable[tuple[str, Headers]]:
        """Return interfaces and what was handed to them since the last call."""

    def close(self) -> None:
        """Watch no more."""


class _Journey(Struct):
    way: Way
    words: str
    incoming: str
    outgoing: str
    steps: list[Passed] = field(default_factory=list)


class JourneyLog:
    """Collects the steps of packets that are *followed*, and what reached interfaces of these.

    *rule* returns the text of a step's rule.
    """

    def __init__(
        self,
        followed: Followed,
        rule: Callable[[TracedStep], str],
        arrivals: Watched | None = None,
    ) -> None:
        self._followed = followed
        self._rule = rule
        self._watched = arrivals
        self._journeys: dict[int, _Journey] = {}
        self._arrivals: list[Passed] = []
        self._now = 0.0

    def take(self, step: TracedStep, interfaces: Mapping[int, str], now: float) -> None:
        """Take up a step; what others have traced is left out."""
        self._now = now
        journey = self._journeys.get(step.packet)
        if step.network_header:
            headers = headers_in(step.network_header, step.transport_header)
            way = self._followed.way_of(headers) if headers else None
            if headers is None or (journey is None and way is None):
                return
            words = _words(headers, step.network_header)
            incoming = interfaces.get(step.incoming, "")
            outgoing = interfaces.get(step.outgoing, "")
            if journey is None and way is not None:
                if len(self._journeys) >= _MOST_PACKETS:
                    return
                journey = self._journeys[step.packet] = _Journey(way, words, incoming, outgoing)
            elif journey is not None:
                journey.words, journey.incoming, journey.outgoing = words, incoming, outgoing
        if journey is None or len(journey.steps) >= _MOST_STEPS:
            return
        family = step.table.family.value if step.table else _OTHERS.get(step.family, "")
        journey.steps.append(
            Passed(
                packet=str(step.packet),
                way=journey.way.value,
                words=journey.words,
                time=now,
                place=f"{family} {step.table_name} {step.chain}".strip(),
                rule=self._rule(step) if step.handle else "end of the chain",
                verdict=step.verdict,
                incoming=journey.incoming,
                outgoing=journey.outgoing,
            )
        )

    def entries(self) -> Iterable[Passed]:
        """Return the steps of all packets, one packet after the other, then the arrivals."""
        for interface, headers in self._watched.seen() if self._watched else ():
            way = self._followed.way_of(headers)
            if way is not None and len(self._arrivals) < _MOST_ARRIVALS:
                self._arrivals.append(
                    Passed(
                        packet=ARRIVED,
                        way=way.value,
                        words=_words(headers, b""),
                        time=self._now,
                        place=f"interface {interface}",
                        rule="handed to the instance",
                        verdict=ARRIVED,
                        incoming="",
                        outgoing=interface,
                    )
                )
        steps = [step for journey in self._journeys.values() for step in journey.steps]
        return [*steps, *self._arrivals]

    def close(self) -> None:
        """Watch interfaces no more."""
        if self._watched is not None:
            self._watched.close()


def _words(headers: Headers, network: bytes) -> str:
    kind = kind_of(headers)
    text = packet_text(network, headers.transport) if network else ""
    return " ".join(filter(None, (text, f"({kind})" if kind else "")))
