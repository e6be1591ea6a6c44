"""Keeps a host from giving up all its sessions by somebody's mistake. Pure.

A cluster whose Nodes have been deleted, or whose mesh was turned off before there was anything in
its place, would take the routes off every host. A host that has had sessions with several others
and should have none at all goes on as it was and says so.
"""

from __future__ import annotations

import re
from typing import Final

from calico_openstack.bgp.extras import NO_SESSIONS_ANNOTATION
from calico_openstack.bgp.render import Rendered

# Neighbours of one family that make the loss of all a mistake: a single one may just have gone.
_SEVERAL: Final = 2
_NEIGHBOR: Final = re.compile(r"^  neighbor ([0-9a-fA-F.:]+)[ %]", re.MULTILINE)


def reason_to_wait(running: str, rendered: Rendered) -> str:
    """Return why *rendered* must not take the place of the *running* text, empty if it may."""
    if rendered.sessions or rendered.may_have_none:
        return ""
    neighbors = set(_NEIGHBOR.findall(running))
    families = [[n for n in neighbors if (":" in n) == six] for six in (False, True)]
    if max(map(len, families)) < _SEVERAL:
        return ""
    return (
        f"all sessions with {len(neighbors)} neighbours would be given up; if that is meant, the "
        f"annotation {NO_SESSIONS_ANNOTATION} of the BGPConfiguration default allows it"
    )
