"""From the policy state of this host to what should be in its kernel, incrementally. Pure.

`Renderer` keeps a `DesiredDataplane` (module `dataplane`; nftables objects in `nft`) in step with
the calculation's state and says in a `DataplaneDelta` what changed.

How the parts fit:

- `layout`: the chains that every host has. Its docstring draws the way of a packet.
- `family`: one IP version's table: the sets of addresses, and the endpoints as elements of maps.
  `class_chains`: one chain for all endpoints with the same tiers and profiles. `policy_chains`: one
  chain for each policy and form of its answer, shared by all classes. `ways`: where policy is asked
  and what its answers become there. `matches`: from criteria to matches; `lookups`: rules that only
  allow as few look-ups.
- `host_layout`: the chains for host endpoints, with the way of a packet; `host_endpoints`: which of
  them exist, and where they lead.
- `metadata`: the service's address. `nat`: floating addresses (`floating`), what leaves the cluster
  (`pools`).
- `network`: routes, neighbours, ARP, interface settings, shaping.
- `qos`: what limits mean. `limits`: those of packets and connections as rules; `marking`: code
  points.
- `names`: how everything is called. `settings`: the parameters. `tables`: notes what changes.
"""

from calico_openstack.felix.render.renderer import TABLES, Renderer
from calico_openstack.felix.render.settings import DenyAction, HostAction, RenderSettings

__all__ = ["TABLES", "DenyAction", "HostAction", "RenderSettings", "Renderer"]
