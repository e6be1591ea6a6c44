"""What is reported of the workload endpoints of this host: what the kernel has of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.status import EndpointStatus
from calico_openstack.felix.calc import LocalEndpoint
from calico_openstack.felix.kernel.dataplane import Dataplane
from calico_openstack.felix.render.floating import FloatingAddresses
from calico_openstack.felix.reporting import status_key
from calico_openstack.policy.addresses import unpack_address

Reports = dict[str, EndpointStatus | None]
"""The statuses of endpoints by key in etcd; None: the endpoint is gone."""


class EndpointReports:
    """Knows whose each interface is, and compares what is wanted with what the kernel has.

    *awaits* tells whether the workload of an endpoint is yet to arrive at this host.
    """

    def __init__(
        self,
        region: str,
        host: str,
        dataplane: Dataplane,
        floating: FloatingAddresses,
        awaits: Callable[[ResourceKey], bool],
    ) -> None:
        self._region = region
        self._host = host
        self._dataplane = dataplane
        self._floating = floating
        self._awaits = awaits
        self._endpoint_of: dict[str, ResourceKey] = {}
        self._interface_of: dict[ResourceKey, str] = {}
        # Endpoints with floating addresses that the kernel has not taken yet.
        self._unfinished: set[ResourceKey] = set()

    def __len__(self) -> int:
        return len(self._interface_of)

    @property
    def interfaces(self) -> Mapping[str, ResourceKey]:
        """The endpoint that each interface belongs to."""
        return self._endpoint_of

    def note(
        self, changed: Iterable[ResourceKey], endpoints: Mapping[ResourceKey, LocalEndpoint]
    ) -> None:
        """Take up that endpoints have *changed*; *endpoints* are all that there are."""
        for key in changed:
            interface = self._interface_of.pop(key, None)
            if interface is not None and self._endpoint_of.get(interface) == key:
                del self._endpoint_of[interface]
        for key in changed:
            endpoint = endpoints.get(key)
            if endpoint is not None:
                self._interface_of[key] = endpoint.interface
                self._endpoint_of[endpoint.interface] = key

    def all(self) -> dict[str, EndpointStatus]:
        """Return the statuses of all endpoints."""
        statuses = self.of(self._interface_of)
        return {path: status for path, status in statuses.items() if status is not None}

    def after_apply(
        self,
        endpoints: Iterable[ResourceKey],
        interfaces: Iterable[str],
        externals: Iterable[bytes],
    ) -> Reports:
        """Return the statuses that may be others now that the kernel was programmed.

        Changed have these *endpoints*, how far these *interfaces* are served, and where these
        *externals* lead to.
        """
        keys = {self._endpoint_of[name] for name in interfaces if name in self._endpoint_of}
        keys.update(endpoints, self._unfinished, self._floating.claimants(externals))
        return self.of(keys)

    def of(self, keys: Iterable[ResourceKey]) -> Reports:
        """Return the statuses of some endpoints."""
        reports: Reports = {}
        for key in keys:
            path = status_key(self._region, self._host, key)
            if path is not None:
                reports[path] = self._status(key)
        return reports

    def _status(self, key: ResourceKey) -> EndpointStatus | None:
        self._unfinished.discard(key)
        interface = self._interface_of.get(key)
        if interface is None:
            return None
        status = self._dataplane.status(interface)
        # Nova starts the virtual machine where it migrates to when it has heard that all is ready:
        # until then nobody has opened the TAP device, and it has no carrier.
        if not (status.prepared if self._awaits(key) else status.working):
            return EndpointStatus(status="down")
        wanted = self._floating.leading_to(key)
        programmed = [external for external in wanted if self._dataplane.translates(external)]
        if programmed != wanted:
            self._unfinished.add(key)
        addresses = tuple(str(unpack_address(external)) for external in programmed)
        return EndpointStatus(status="up", floating_ips=addresses)
