"""The renderer itself: changes of the policy state in, changes of the desired dataplane out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.felix.calc import HostDelta, HostState
from calico_openstack.felix.calc.migration import RoutePriority
from calico_openstack.felix.render import layout
from calico_openstack.felix.render.dataplane import DataplaneDelta, DesiredDataplane
from calico_openstack.felix.render.family import FamilyRenderer
from calico_openstack.felix.render.floating import FloatingAddresses
from calico_openstack.felix.render.marking import MarkingRenderer
from calico_openstack.felix.render.nat import NatRenderer
from calico_openstack.felix.render.network import NetworkRenderer
from calico_openstack.felix.render.nft import Family, Table, TableState
from calico_openstack.felix.render.pools import NetworkSets
from calico_openstack.felix.render.settings import RenderSettings
from calico_openstack.felix.render.tables import TableWriter
from calico_openstack.policy.addresses import unpack_address

IP_TABLE = Table(Family.IP, "calico")
IP6_TABLE = Table(Family.IP6, "calico")
ARP_TABLE = Table(Family.ARP, "calico-arp")
TABLES = (IP_TABLE, IP6_TABLE, ARP_TABLE)
"""The tables that belong to Felix. The names are upstream's: what else is in them goes."""


class Renderer:
    """Keeps ``desired`` in step with a `HostState`.

    The first delta contains everything that does not depend on endpoints as well. ``floating``
    tells whose the floating addresses are.
    """

    def __init__(self, settings: RenderSettings, state: HostState) -> None:
        self.desired = DesiredDataplane()
        self._writers: dict[Table, TableWriter] = {}
        for table in TABLES:
            self.desired.ruleset[table] = TableState()
            self._writers[table] = TableWriter(self.desired.ruleset[table])
        versions = {4: IP_TABLE}
        if settings.ipv6:
            versions[6] = IP6_TABLE
        else:
            layout.write_closed_layout(self._writers[IP6_TABLE], settings)
        self.floating = FloatingAddresses(settings, state)
        self._families: list[FamilyRenderer] = []
        self._networks: list[NetworkSets] = []
        self._translations: list[NatRenderer] = []
        self._markings: list[MarkingRenderer] = []
        for version, table in versions.items():
            writer = self._writers[table]
            self._families.append(FamilyRenderer(version, writer, settings, state))
            self._networks.append(NetworkSets(version, writer, settings, state))
            self._translations.append(NatRenderer(version, writer, settings, self.floating))
            self._markings.append(MarkingRenderer(version, writer, state))
        layout.write_arp_layout(self._writers[ARP_TABLE])
        self._network = NetworkRenderer(
            self.desired, self._writers[ARP_TABLE], settings, state, self.floating
        )
        self.desired.globals = _global_parameters(settings)
        self._unreported_globals = set(self.desired.globals)

    def prioritise(self, priorities: Mapping[ResourceKey, RoutePriority]) -> None:
        """Give the routes of endpoints other priorities with the next `apply`."""
        self._network.prioritise(priorities)

    def apply(self, changed: HostDelta) -> DataplaneDelta:
        """Bring ``desired`` up to date with the state, given what changed in it."""
        delta = DataplaneDelta(globals=self._unreported_globals)
        self._unreported_globals = set()
        for family in self._families:
            family.apply(changed)
        if changed.networks:
            for networks in self._networks:
                networks.apply()
        moved = self.floating.apply(changed.endpoints)
        if moved or changed.networks:
            for translations in self._translations:
                translations.apply(moved)
        for markings in self._markings:
            markings.apply((*changed.endpoints, *changed.host_endpoints))
        self._network.apply(changed.endpoints, moved, delta)
        self._note_translations(moved, delta)
        for table, writer in self._writers.items():
            if written := writer.take_delta():
                delta.tables[table] = written
        return delta

    def _note_translations(self, moved: Iterable[bytes], delta: DataplaneDelta) -> None:
        for packed in moved:
            external = unpack_address(packed)
            target = self.floating.targets.get(packed)
            internal = unpack_address(target.internal) if target else None
            if self.desired.translations.pop(external, None) != internal:
                delta.translations.add(external)
            if internal:
                self.desired.translations[external] = internal


def _global_parameters(settings: RenderSettings) -> dict[str, str]:
    """Return the host's own kernel parameters (specification section 3.12)."""
    parameters = {"net/netfilter/nf_conntrack_acct": "1"}
    if settings.ip_forwarding:
        parameters["net/ipv4/ip_forward"] = "1"
        if settings.ipv6:
            parameters["net/ipv6/conf/all/forwarding"] = "1"
    return parameters
