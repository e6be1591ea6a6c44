"""Policy evaluation on the live state: is this flow still allowed?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from calico_openstack.datamodel.selector import Selector
from calico_openstack.felix.calc.ipsets import IPSet, port_key
from calico_openstack.felix.calc.state import HostState, LocalEndpoint
from calico_openstack.policy.evaluation import EndpointVerdict, evaluate
from calico_openstack.policy.packet import Direction, Packet
from calico_openstack.policy.rules import NamedPort


class SetMembers:
    """Answers what selectors stand for from the sets that the rules in use keep filled."""

    def __init__(self, sets: Mapping[str, IPSet]) -> None:
        self._sets = sets

    def selects(self, selector: Selector, address: bytes) -> bool:
        """See `policy.evaluation.Members`."""
        return address in self._sets[selector.uid]

    def selects_port(self, named: NamedPort, address: bytes, protocol: int, port: int) -> bool:
        """See `policy.evaluation.Members`."""
        return port_key(address, protocol, port) in self._sets[named.uid]


def verdicts(
    state: HostState,
    direction: Direction,
    endpoints: Iterable[LocalEndpoint],
    packet: Packet,
) -> list[EndpointVerdict]:
    """Return what each of *endpoints* decides about *packet* in a direction."""
    members = SetMembers(state.sets)
    return [
        EndpointVerdict(
            endpoint.key,
            direction,
            evaluate(endpoint.policy, state.blocks, direction, packet, members),
        )
        for endpoint in endpoints
    ]
