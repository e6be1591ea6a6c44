"""Costs a bad object its own session only, where BIRD finds fault with what became of it.

What the data model and the renderer let pass can still be refused by some version of BIRD. BIRD
says in which line; the line belongs to a session or to a filter's function, and the configuration
without that one is tried next. Pure, given a check.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from calico_openstack.bgp.render import Rendered

_MOST_EXCLUDED: Final = 20
_LINE: Final = re.compile(r":(\d+):\d+ (.*)")
_OWNER: Final = re.compile(r"protocol bgp (\S+) |function ('bgp_[^']+')")


def render_accepted(
    render: Callable[[Mapping[str, str]], Rendered], check: Callable[[str], str]
) -> Rendered:
    """Return the first rendering that *check* has no fault with, or that cannot be helped.

    *render* gets what it must leave out with the reasons, by protocol name or function symbol;
    *check* returns BIRD's complaint about a text, empty if there is none.
    """
    excluded: dict[str, str] = {}
    while True:
        rendered = render(excluded)
        fault = check(rendered.text)
        found = culprit(rendered.text, fault) if fault else None
        if found is None or found[0] in excluded or len(excluded) >= _MOST_EXCLUDED:
            return rendered
        name, reason = found
        excluded[name] = reason


def culprit(text: str, fault: str) -> tuple[str, str] | None:
    """Return the protocol or function that a complaint is about, and what it says of it.

    None if the complaint names no line, or one that belongs to everybody.
    """
    match = _LINE.search(fault)
    if match is None:
        return None
    for line in reversed(text.splitlines()[: int(match[1])]):
        if line and line[0] not in " {}#":
            owner = _OWNER.match(line)
            return (owner[1] or owner[2], match[2]) if owner else None
    return None
