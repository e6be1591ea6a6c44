"""The way of a packet as a picture in the terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from calico_openstack.calicoctl.explanation import Explanation, Stage

_SIGNS: Final = {True: "+", False: "X", None: "|"}
_LABELS: Final = {
    "the workload's own source": "may use its source address",
    "the workload's policy": "policy",
}


def picture(found: Explanation) -> Iterator[str]:
    """Yield the lines of a picture: the ends, the hosts between them, and who says what.

    ``+`` allows, ``X`` refuses, ``|`` leaves it to the next; ``!`` is a fault of a kernel.
    """
    source, destination = found.titles
    host = ""
    yield f"[ {source} ]" if found.source.endpoint is not None else f"( {source} )"
    views = {view.host: view for view in found.hosts}
    told: set[str] = set()
    for stage in found.stages:
        if host and stage.host != host:
            yield "   |"
            yield f"   V  {_way(found, host)}"
        if stage.host != host:
            yield "   |"
        host = stage.host
        yield f"   {_SIGNS[stage.allowed]}  {host}: {_label(stage)}"
        if host in views and host not in told:
            told.add(host)
            yield from (f"   !  {host}: {fault}" for fault in views[host].faults)
    if found.destination.endpoint is None:
        yield "   |"
        yield f"   V  {_way(found, host)}"
    yield "   |" if found.passes else "   :"
    inside = found.destination.endpoint is not None
    yield f"[ {destination} ]" if inside else f"( {destination} )"


def _label(stage: Stage) -> str:
    label = _LABELS.get(stage.place, stage.place)
    group = f" of {stage.security_group}" if stage.security_group else ""
    return f"{stage.direction} {label}{group}" if label == "policy" else f"{label}{group}"


def _way(found: Explanation, host: str) -> str:
    """Return how the kernel of *host* sends on, as far as it was asked."""
    for view in found.hosts:
        if view.host == host and view.way:
            return f"{view.way} (route {view.route})"
    return "network"
