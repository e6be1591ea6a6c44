"""Segments of networks: on a routed network every host reaches all of them.

With Neutron's plugin ``segments`` a subnet may belong to a segment, and gives addresses only to
ports on hosts that are mapped to it. Neutron maps hosts by the bridges that their agents report, of
which Felix has none, or when a segment is made, to the hosts of that moment.
"""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa
from neutron.db.models import segment as segment_models
from neutron.services.segments import db as segments_db
from neutron_lib import context as neutron_context
from neutron_lib.plugins import directory

from calico_openstack.neutron.binding import NETWORK_TYPES
from calico_openstack.neutron.queries import reader, retried

_PLUGIN = "segments"


def map_hosts(hosts: Collection[str]) -> None:
    """Map hosts to all segments that subnets may belong to; what others have mapped stays."""
    if directory.get_plugin(_PLUGIN) is None:
        return
    for host, segments in _missing(hosts).items():
        segments_db.update_segment_host_mapping(neutron_context.get_admin_context(), host, segments)


@retried
def _missing(hosts: Collection[str]) -> dict[str, set[str]]:
    """Return the segments that hosts must be mapped to, by those hosts that lack some."""
    segment, mapping = segment_models.NetworkSegment, segment_models.SegmentHostMapping
    reachable = sa.select(segment.id).where(
        segment.physical_network.is_not(None), segment.network_type.in_(NETWORK_TYPES)
    )
    with reader() as connection:
        wanted = set(connection.scalars(reachable))
        mapped: dict[str, set[str]] = {host: set() for host in hosts}
        for host, segment_id in connection.execute(sa.select(mapping.host, mapping.segment_id)):
            if host in mapped:
                mapped[host].add(segment_id)
    return {host: wanted | found for host, found in mapped.items() if not wanted <= found}
