"""From the state of the cluster to the policy state of this host, incrementally. Pure.

`HostCalculation` takes the present value of one key after the other and keeps a `HostState`: the
endpoints of this host with their ordered policies, the rules that those name, and the members of
everything that the rules select. `HostDelta` says what changed. No history, no clock, no I/O: the
same values give the same state, whatever the order, repetition or batching of the updates.

How the parts fit:

- `groups`: all endpoints and network sets of the cluster, grouped by labels, profiles and ports;
  `ipsets` hang off the groups. `selector_index` finds selectors by a label that they require.
- `policies`: which policies match the groups with local endpoints, and their order.
- `endpoints`: the endpoints of this host, and who wins where two claim an interface.
- `host_endpoints`: those of this host, and the interfaces that they govern.
- `blocks`: the rules in use, and the sets in use through them.
- `workload_peers`: which of the endpoints speak BGP with the host.
- `networks`: the address pools of the cluster and the addresses of its hosts.
- `withdrawals`: which established flows may have lost their permission. `judgement`: whether a flow
  is allowed now.
- `host` puts them together.

Apart from all that, `migration` says what live migrations mean for the routes of this host. What it
decides depends on announcements and on time too, which its caller brings.

What is missing or invalid closes:

- An invalid endpoint, one without addresses or interface, one that may spoof where that is not
  permitted: absent. Its interface is unknown and all its packets are dropped.
- A missing or invalid profile denies both ways.
- An invalid policy of which selector and tier can be told denies, at its place in the order, all
  packets of the endpoints that it selects, in its directions. If not even that can be told it
  contributes nothing: what it allowed is closed, but what it denied cannot be known.
- A missing tier is enforced after all others and denies what its policies do not decide; an
  invalid one is the same as a missing one, except that a wrong action alone counts as Deny.
- What is no network in a network set, or no address in a host endpoint, is left out of it.
- Two endpoints of this host with one interface name: the lowest orchestrator, workload and endpoint
  is programmed, the others are reported in ``HostState.problems``. Two with one address: both are
  programmed; which of them gets the route is decided in `render`.
- An invalid host endpoint counts as one without labels and profiles. One that governs no interface
  is in ``HostState.problems``.
"""

from calico_openstack.felix.calc.host import CalculationSettings, HostCalculation
from calico_openstack.felix.calc.ipsets import AddressRange, IPSet, SetChange
from calico_openstack.felix.calc.networks import ClusterNetworks
from calico_openstack.felix.calc.state import (
    HostDelta,
    HostState,
    LocalEndpoint,
    LocalHostEndpoint,
    Withdrawal,
)

__all__ = [
    "AddressRange",
    "CalculationSettings",
    "ClusterNetworks",
    "HostCalculation",
    "HostDelta",
    "HostState",
    "IPSet",
    "LocalEndpoint",
    "LocalHostEndpoint",
    "SetChange",
    "Withdrawal",
]
