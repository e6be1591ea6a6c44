"""The traffic of endpoints, as the kernel counts it at their interfaces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from calico_openstack.agent.introspection.protocol import Row
from calico_openstack.felix.calc import HostState

# One file has the counters of all interfaces, so that many endpoints cost one read.
_COUNTERS: Final = Path("/proc/thread-self/net/dev")
_COLUMNS: Final = 16


class Counters(NamedTuple):
    """Counts since the interface was made, from the host's point of view."""

    received_bytes: int
    received_packets: int
    received_dropped: int
    sent_bytes: int
    sent_packets: int
    sent_dropped: int


def counters_in(text: str) -> dict[str, Counters]:
    """Return the counters by interface of a file in the format of ``/proc/net/dev``.

    Two lines of headings; then the name, a colon, eight columns of what was received and eight of
    what was sent: bytes, packets, errors, drops, and four more (proc_net(5)).
    """
    found = {}
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        values = rest.split()
        if len(values) == _COLUMNS and all(value.isdecimal() for value in values):
            numbers = [int(value) for value in values]
            found[name.strip()] = Counters(*(numbers[i] for i in (0, 1, 3, 8, 9, 11)))
    return found


def traffic_rows(state: HostState, counters: Mapping[str, Counters]) -> Iterator[Row]:
    """Yield for each endpoint that has an interface what came from its instance and went to it."""
    for endpoint in state.endpoints.values():
        count = counters.get(endpoint.interface)
        if count is not None:
            yield {
                "interface": endpoint.interface,
                "port": endpoint.spec.endpoint,
                "from bytes": str(count.received_bytes),
                "from packets": str(count.received_packets),
                "to bytes": str(count.sent_bytes),
                "to packets": str(count.sent_packets),
                "dropped": str(count.received_dropped + count.sent_dropped),
            }


def traffic(state: HostState) -> Callable[[str], Iterable[Row]]:
    """Return the table of the traffic of endpoints; it raises OSError without ``/proc``."""
    return lambda _match: traffic_rows(state, counters_in(_COUNTERS.read_text(encoding="ascii")))
