"""What a port's binding tells operators of what cannot be honoured. Pure.

Neutron has no place for the reason of a port's status. The VIF details of a binding are shown to
operators with the port, and what is unknown to Nova in them is left alone by it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from calico_openstack.datamodel.invalid import UNREADABLE
from calico_openstack.neutron.translate.facts import VIF_TAP, PortFacts, Problem
from calico_openstack.neutron.translate.policy import refusals

KEY = "calico_refused"
"""The member of the VIF details that lists what is left closed."""

_MOST_CHARACTERS = 3000
"""Neutron's column takes 4095 with the other details."""


@dataclass(frozen=True, slots=True)
class Details:
    """The VIF details that the active binding of a port to a host must have instead of others."""

    host: str
    stored: str
    wanted: str


def told_details(port: PortFacts, problems: Iterable[Problem]) -> Details | None:
    """Return the details that a port's binding must have, None where it has the right ones.

    ``problems`` are those of the port itself; those of its groups' rules are added.
    """
    if port.binding.vif_type != VIF_TAP:
        return None
    try:
        details = msgspec.json.decode(port.binding.details or "{}", type=dict[str, object])
    except UNREADABLE:
        return None
    texts = [str(problem) for problem in (*problems, *_rules(port))]
    wanted = _shortened(texts)
    if details.get(KEY, []) == wanted:
        return None
    details.pop(KEY, None)
    if wanted:
        details[KEY] = wanted
    encoded = msgspec.json.encode(details).decode()
    return Details(port.binding.host, port.binding.details, encoded)


def _rules(port: PortFacts) -> list[Problem]:
    """Return the rules of a port's groups that are left out; without port security none apply."""
    return refusals(port.odd_rules) if port.port_security_enabled else []


def _shortened(texts: list[str]) -> list[str]:
    """Return as many texts as there is room for, and how many others there are."""
    room = _MOST_CHARACTERS
    result: list[str] = []
    for number, text in enumerate(texts):
        room -= len(text.encode()) + 4
        if room < 0:
            return [*result, f"and {len(texts) - number} more, see the log and calico-resync"]
        result.append(text)
    return result
