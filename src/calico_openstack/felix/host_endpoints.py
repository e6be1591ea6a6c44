"""The host's own interfaces: what the calculation is told of them, and what is reported about them.

A host endpoint is reported ``up`` while all interfaces that it governs are and the kernel has taken
all its rules, ``down`` otherwise, and ``error`` if it governs none. One for all interfaces does not
depend on their state (specification section 4.6).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

from calico_openstack.datamodel.endpoints import HostEndpoint
from calico_openstack.datamodel.keys import HostEndpointStatusKey
from calico_openstack.datamodel.status import EndpointStatus
from calico_openstack.felix.calc import HostCalculation, HostState
from calico_openstack.felix.kernel.interfaces import Interface
from calico_openstack.policy.host_interfaces import EVERY_INTERFACE


class HostEndpointFollower:
    """Follows the interfaces of *host*; those with *workload_prefixes* are not its own."""

    def __init__(
        self, host: str, workload_prefixes: tuple[str, ...], calculation: HostCalculation
    ) -> None:
        self._host = host
        self._prefixes = workload_prefixes
        self._calculation = calculation
        self._reported: dict[str, str] = {}

    def follow(self, changed: Iterable[str], interfaces: Mapping[str, Interface]) -> bool:
        """Take up that interfaces *changed*; tell whether some are the host's own.

        *interfaces* are all that there are.
        """
        if all(map(self._is_workload, changed)):
            return False
        self._calculation.update_interfaces(
            {
                name: frozenset(address.packed for address in interface.addresses)
                for name, interface in interfaces.items()
                if not self._is_workload(name)
            }
        )
        return True

    def changes(
        self, interfaces: Mapping[str, Interface], unprotected: Set[str] = frozenset()
    ) -> dict[str, EndpointStatus | None]:
        """Return the statuses by key in etcd that differ from before; None: it is gone.

        *unprotected* are interfaces of which the kernel refused rules, "" stands for all.
        """
        state = self._calculation.state
        statuses = statuses_of(self._host, state, interfaces, unprotected)
        before, self._reported = self._reported, statuses
        return {
            path: EndpointStatus(status=statuses[path]) if path in statuses else None
            for path in before.keys() | statuses.keys()
            if before.get(path) != statuses.get(path)
        }

    def _is_workload(self, name: str) -> bool:
        return name.startswith(self._prefixes)


def statuses_of(
    host: str,
    state: HostState,
    interfaces: Mapping[str, Interface],
    unprotected: Set[str],
) -> dict[str, str]:
    """Return the status of each host endpoint of *host* by its key in etcd."""
    statuses = {
        HostEndpointStatusKey(host, key.name).path: "error"
        for key in state.problems
        if key.kind == HostEndpoint.KIND
    }
    for key, endpoint in state.host_endpoints.items():
        up = unprotected.isdisjoint(endpoint.interfaces | {""}) and all(
            name == EVERY_INTERFACE or (name in interfaces and interfaces[name].up)
            for name in endpoint.interfaces
        )
        statuses[HostEndpointStatusKey(host, key.name).path] = "up" if up else "down"
    return statuses
