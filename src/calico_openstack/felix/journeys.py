"""The way of single packets through the rules of a host, step by step. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from msgspec import Struct, field

from calico_openstack.felix.drops import packet_text
from calico_openstack.felix.kernel.packet_tracing import TracedStep

_MOST_PACKETS: Final = 20
_MOST_STEPS: Final = 200


class Passed(Struct, frozen=True):
    """A rule that a packet met, as text, with the verdict and where the packet was then."""

    packet: int
    words: str
    time: float
    place: str
    rule: str
    verdict: str
    incoming: str
    outgoing: str


class _Journey(Struct):
    words: str
    incoming: str
    outgoing: str
    steps: list[Passed] = field(default_factory=list)


class JourneyLog:
    """Collects the steps of packets between *sources* and *destinations* (packed).

    *rule* returns the text of a step's rule.
    """

    def __init__(
        self,
        sources: Iterable[bytes],
        destinations: Iterable[bytes],
        rule: Callable[[TracedStep], str],
    ) -> None:
        self._ends = {(s, d) for s in sources for d in destinations}
        self._rule = rule
        self._journeys: dict[int, _Journey] = {}

    def take(self, step: TracedStep, interfaces: Mapping[int, str], now: float) -> None:
        """Take up a step; what others have traced is left out."""
        journey = self._journeys.get(step.packet)
        if step.network_header:
            if journey is None and _ends(step.network_header) not in self._ends:
                return
            words = packet_text(step.network_header, step.transport_header)
            incoming = interfaces.get(step.incoming, "")
            outgoing = interfaces.get(step.outgoing, "")
            if journey is None:
                if len(self._journeys) >= _MOST_PACKETS:
                    return
                journey = self._journeys[step.packet] = _Journey(words, incoming, outgoing)
            journey.words, journey.incoming, journey.outgoing = words, incoming, outgoing
        if journey is None or len(journey.steps) >= _MOST_STEPS:
            return
        family = step.table.family.value if step.table else ""
        journey.steps.append(
            Passed(
                packet=step.packet,
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
        """Return the steps of all packets, one packet after the other."""
        return [step for journey in self._journeys.values() for step in journey.steps]


def _ends(header: bytes) -> tuple[bytes, bytes] | None:
    if len(header) >= 40 and header[0] >> 4 == 6:
        return header[8:24], header[24:40]
    return (header[12:16], header[16:20]) if len(header) >= 20 else None
