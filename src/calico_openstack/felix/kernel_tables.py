"""What the kernel has of what Felix wants of it, as tables; routes are asked of it anew."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from ipaddress import ip_address, ip_network
from typing import Final

from calico_openstack.agent.introspection.protocol import Row
from calico_openstack.datamodel import ResourceKey
from calico_openstack.felix.calc import HostState, LocalEndpoint
from calico_openstack.felix.kernel.dataplane import Dataplane, InterfaceStatus
from calico_openstack.felix.kernel.route_lookup import FoundRoute, look_up, open_lookup
from calico_openstack.felix.programming import findings
from calico_openstack.felix.render.dataplane import DesiredDataplane
from calico_openstack.policy.addresses import unpack_address

_NOT_YET: Final = "waits for the migration: the instance still runs elsewhere"


def condition(status: InterfaceStatus, *, awaited: bool) -> tuple[str, str]:
    """Return an endpoint's status and the reason for it, "" if nothing is in the way.

    With *awaited* its instance is yet to arrive by live migration, until when its interface has no
    carrier, and no routes.
    """
    if status.problems:
        return "down", "; ".join(status.problems)
    if awaited:
        return "waiting", _NOT_YET
    if status.working:
        return "up", ""
    return "down", absence(status)


def absence(status: InterfaceStatus) -> str:
    """Return why an interface does not serve its endpoint, "" if nothing is in the way."""
    if not status.present:
        return "the interface does not exist: the instance is not running here"
    return "" if status.up else "the interface is down"


def routes(desired: DesiredDataplane, dataplane: Dataplane) -> Iterator[Row]:
    """Yield the wanted routes, and where the kernel sends such packets."""
    with _Lookup(dataplane) as lookup:
        for network, route in desired.routes.items():
            found = lookup.of(str(network.network_address))
            right = found["interface"] == route.interface
            yield {
                "destination": str(network),
                "interface": route.interface,
                "metric": str(route.metric),
                "kernel": "same" if right else found["interface"] or found["way"],
            }


def programming(
    state: HostState,
    desired: DesiredDataplane,
    dataplane: Dataplane,
    awaits: Callable[[ResourceKey], bool],
    match: str,
) -> Iterator[Row]:
    """Yield everything that the kernel should have for an endpoint, and whether it has it."""
    for key, endpoint in state.endpoints.items():
        if match not in _names(endpoint):
            continue
        status = dataplane.status(endpoint.interface)
        absent = _NOT_YET if awaits(key) else absence(status)
        link = f"interface {endpoint.interface}"
        yield {"thing": link, "kernel": absent or "ok", "wanted": "an interface that is up"}
        for problem in status.problems:
            yield {"thing": link, "kernel": problem, "wanted": ""}
        ruleset, images = desired.ruleset, dataplane.nft.images
        for one in findings(endpoint, ruleset, images):
            yield {"thing": one.thing, "kernel": one.state, "wanted": one.wanted}
        if awaits(key):
            continue  # routes come with the instance
        with _Lookup(dataplane) as lookup:
            for address in map(str, map(unpack_address, endpoint.addresses)):
                found = lookup.of(address)
                right = found["interface"] == endpoint.interface
                told = "ok" if right else f"leads {found['way']}"
                thing = f"route to {address}"
                yield {"thing": thing, "kernel": told, "wanted": f"by {endpoint.interface}"}
    for key, reason in state.problems.items():
        if match and match in key.name:
            yield {"thing": key.name, "kernel": f"refused: {reason}", "wanted": ""}


def _names(endpoint: LocalEndpoint) -> set[str]:
    addresses = map(str, map(unpack_address, endpoint.addresses))
    spec = endpoint.spec
    return {endpoint.interface, endpoint.key.name, spec.endpoint, spec.workload, *addresses}


def way(dataplane: Dataplane) -> Callable[[str], Iterable[Row]]:
    """Return the table of ways to the destination that is asked for."""

    def rows(match: str) -> Iterator[Row]:
        with _Lookup(dataplane) as lookup:
            yield lookup.of(match)

    return rows


class _Lookup:
    """Routes as the kernel finds them, with names of interfaces; a context manager."""

    def __init__(self, dataplane: Dataplane) -> None:
        self._interfaces = {each.index: name for name, each in dataplane.interfaces.items()}

    def __enter__(self) -> _Lookup:
        self._socket = open_lookup()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def of(self, text: str) -> Row:
        """Return the way to an address."""
        row = {"destination": text, "interface": "", "gateway": "", "route": "", "way": ""}
        try:
            found = look_up(self._socket, ip_address(text))
        except ValueError:
            return {**row, "way": "is no address"}
        if not isinstance(found, FoundRoute):
            return {**row, "way": f"nowhere: {found}"}
        interface = self._interfaces.get(found.interface, "")
        by = f" by {interface}" if interface else ""
        to = f"to {found.gateway}" if found.gateway else "directly"
        way = f"{to}{by}" if found.kind == "unicast" else f"{found.kind}{by}"
        gateway = str(found.gateway or "")
        route = str(ip_network((ip_address(text), found.length), strict=False))
        route += f" metric {found.metric}" if found.metric else ""
        return {**row, "interface": interface, "gateway": gateway, "route": route, "way": way}
