"""Sending probes for those who follow packets, as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from calico_openstack.agent.introspection.protocol import Row
from calico_openstack.felix.calc import HostState
from calico_openstack.felix.kernel.dataplane import Dataplane
from calico_openstack.felix.kernel.followed_packets import followed_in
from calico_openstack.felix.kernel.injection import Injector, Place
from calico_openstack.felix.kernel.interfaces import Interface
from calico_openstack.felix.probe_packets import PROTOCOLS, Probe
from calico_openstack.policy.addresses import unpack_address

SENT: Final = "sent"


class ProbeError(ValueError):
    """A probe that is not sent; the text says why."""


def probed(state: HostState, dataplane: Dataplane) -> Callable[[str], Iterable[Row]]:
    """Return the table by which probes are sent: the endpoint's interface, then as `followed_in`.

    Each question sends at most one packet, and there is at most one at a time, half a second long.
    """
    injector = Injector()

    def rows(match: str) -> Iterator[Row]:
        try:
            place, probe = prepared(state, dataplane.interfaces, match)
            injector.inject(place, probe.packet())
        except OSError as error:
            yield {"probe": match, "result": f"not sent: {error.strerror or error}"}
        except ValueError as error:
            yield {"probe": match, "result": f"not sent: {error}"}
        else:
            yield {"probe": match, "result": SENT}

    return rows


def prepared(
    state: HostState, interfaces: Mapping[str, Interface], match: str
) -> tuple[Place, Probe]:
    """Return where a probe is to be received, and the probe; raises ValueError.

    It comes from an endpoint of this host and from an address of its own, or not at all: nobody
    can have packets sent that the instance could not send itself.
    """
    name, _, rest = match.partition(" ")
    wanted = followed_in(rest)
    source, destination = wanted.sources[0], wanted.destinations[0]
    if wanted.token is None or wanted.protocol not in PROTOCOLS:
        raise ProbeError("probes are of TCP, UDP and ICMP, and have a token")
    if len(source) != len(destination):
        raise ProbeError("source and destination are not of one IP version")
    endpoint = next((e for e in state.endpoints.values() if e.interface == name), None)
    if endpoint is None or source not in endpoint.addresses:
        address = unpack_address(source)
        raise ProbeError(f"no endpoint of this host has interface {name} and address {address}")
    interface = interfaces.get(name)
    if interface is None or not interface.up:
        what = "down" if interface else "missing"
        raise ProbeError(f"interface {name} is {what}: does the instance run?")
    place = Place(interface.index, interface.mac, endpoint.mac)
    return place, Probe(source, destination, wanted.protocol, wanted.port, wanted.token)
