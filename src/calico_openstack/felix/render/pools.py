"""Sets of the networks that belong to the cluster, of one IP version."""

from __future__ import annotations

from collections.abc import Iterable

from calico_openstack.felix.calc import AddressRange, HostState
from calico_openstack.felix.calc.ipsets import merged
from calico_openstack.felix.render import names
from calico_openstack.felix.render.matches import ADDRESS_KEY
from calico_openstack.felix.render.nft import Range, Set
from calico_openstack.felix.render.settings import RenderSettings
from calico_openstack.felix.render.tables import TableWriter
from calico_openstack.policy.addresses import Prefix, prefix_of

_SIZES = {4: 4, 6: 16}


class NetworkSets:
    """Keeps the sets of pools, of masqueraded pools and of hosts; they are always there."""

    def __init__(
        self, version: int, writer: TableWriter, settings: RenderSettings, state: HostState
    ) -> None:
        self._size = _SIZES[version]
        self._writer = writer
        self._settings = settings
        self._state = state
        kind = Set((ADDRESS_KEY[version],), interval=True)
        for name in (names.POOLS, names.MASQUERADED_POOLS):
            writer.add_set(name, kind, {})
        if settings.nat_excludes_hosts:
            writer.add_set(names.HOSTS, kind, {})
            self._update_hosts()

    def apply(self) -> None:
        """Bring the sets up to date with the state."""
        networks = self._state.networks
        self._replace(names.POOLS, networks.pools)
        self._replace(names.MASQUERADED_POOLS, networks.masqueraded)
        if self._settings.nat_excludes_hosts:
            self._update_hosts()

    def _update_hosts(self) -> None:
        hosts = {Prefix(address, len(address) * 8) for address in self._state.networks.hosts}
        external = map(prefix_of, self._settings.external_nodes)
        self._replace(names.HOSTS, merged({*hosts, *external}))

    def _replace(self, name: str, ranges: Iterable[AddressRange]) -> None:
        wanted = {Range(*each) for each in ranges if len(each.first) == self._size}
        for element in self._writer.state.elements[name].keys() - wanted:
            self._writer.remove_element(name, element)
        for element in wanted:
            self._writer.put_element(name, element)
