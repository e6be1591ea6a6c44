"""Communities by what an address is, for fabrics that tell them apart. Pure.

The annotation ``communities`` of a BGPConfiguration names them for each kind, as often as wanted:
``fixed=64512:1, floating=64512:2, service=64512:1:3``. An address of a workload is a fixed one if
it is in one of Neutron's subnets that the datastore has (those with DHCP), else a floating one;
those of services are on the host's own interface for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from calico_openstack.bgp.communities import community_literal, community_value
from calico_openstack.bgp.detection import Family
from calico_openstack.bgp.extras import DOMAIN, Aggregates
from calico_openstack.bgp.origination import aggregated
from calico_openstack.datamodel.addresses import Network

COMMUNITIES_ANNOTATION: Final = DOMAIN + "communities"


class Kind(StrEnum):
    """What an address is, by the word for it in the annotation."""

    FIXED = "fixed"
    FLOATING = "floating"
    SERVICE = "service"


KindCommunities = Mapping[Kind, tuple[tuple[int, ...], ...]]


@dataclass(frozen=True, slots=True)
class Mark:
    """Communities, in BIRD's notation with their attributes, for routes that meet a condition."""

    condition: str
    communities: tuple[tuple[str, str], ...]


def kind_communities(text: str) -> KindCommunities:
    """Read the annotation; raises ValueError where it says nothing that can be used."""
    found: dict[Kind, set[tuple[int, ...]]] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        word, equals, community = (piece.strip() for piece in part.partition("="))
        value = community_value(community)
        if not equals or word not in tuple(Kind) or value is None:
            kinds = ", ".join(Kind)
            raise ValueError(f"{part!r} is not of the form fixed=64512:1; kinds are {kinds}")
        found.setdefault(Kind(word), set()).add(value)
    return {kind: tuple(sorted(values)) for kind, values in sorted(found.items())}


def marks_of(
    communities: KindCommunities,
    subnets: Iterable[Network],
    family: Family,
    *,
    workload_interface: str,
    service_interface: str,
) -> tuple[Mark, ...]:
    """Return what the routes of a host are marked with in one family.

    *workload_interface* is BIRD's condition for a workload's interface, *service_interface* a name.
    """
    networks = aggregated(Aggregates(subnets=True), subnets, family)
    inside = f"net ~ [ {', '.join(f'{network}+' for network in networks)} ]" if networks else ""
    workload = f"source = RTS_INHERIT && ({workload_interface})"
    conditions = {
        Kind.FIXED: f"{workload} && {inside}" if inside else "",
        Kind.FLOATING: f"{workload} && !({inside})" if inside else workload,
        Kind.SERVICE: f'source = RTS_DEVICE && ifname = "{service_interface}"',
    }
    return tuple(
        Mark(conditions[kind], tuple(map(community_literal, values)))
        for kind, values in communities.items()
        if conditions[kind]
    )
