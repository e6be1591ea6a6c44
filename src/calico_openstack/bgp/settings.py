"""What BGPConfiguration, Node and FelixConfiguration mean for one host. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Final, TypeVar

from calico_openstack.bgp.communities import community_value
from calico_openstack.bgp.detection import Family
from calico_openstack.bgp.extras import (
    DRAIN_ANNOTATION,
    MESH_LIMIT_ANNOTATION,
    NO_EXTRAS,
    NO_SESSIONS_ANNOTATION,
    Extras,
    boolean,
    count,
    extras_of,
)
from calico_openstack.bgp.felix_view import FelixView, felix_view
from calico_openstack.bgp.kinds import (
    COMMUNITIES_ANNOTATION,
    KindCommunities,
    kind_communities,
)
from calico_openstack.bgp.state import BgpState, Problem, RefusedError
from calico_openstack.bgp.version import OLDEST_SUPPORTED, BirdVersion
from calico_openstack.datamodel.addresses import Address, Network, parse_address, parse_network
from calico_openstack.datamodel.asnumber import as_number
from calico_openstack.datamodel.bgp import BGPConfigurationSpec, BgpPassword
from calico_openstack.datamodel.durations import parse_duration
from calico_openstack.datamodel.nodes import Node
from calico_openstack.datamodel.resource import Resource

FAMILIES: Final[tuple[Family, ...]] = (4, 6)
DEFAULT_AS_NUMBER: Final = 64512

REGION_LABEL: Final = "openstack-region"
"""The label of Nodes that says which of several OpenStack regions in one etcd they belong to."""

_T = TypeVar("_T")

_INTERFACE_PATTERN = re.compile(r"[a-zA-Z0-9_.*-]{1,15}")


@dataclass(frozen=True, slots=True, order=True)
class SecretRef:
    """The name of a password: a secret and a key in it."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Speaker:
    """A node as a BGP speaker. ``as_number`` and ``listen_port`` None: that of the cluster.

    ``cluster_id`` is empty unless the node reflects routes. ``wireguard`` has the families in
    which it has a WireGuard interface.
    """

    name: str
    labels: Mapping[str, str]
    addresses: Mapping[Family, Address]
    as_number: int | None
    cluster_id: str
    listen_port: int | None
    wireguard: frozenset[Family] = frozenset()


@dataclass(frozen=True, slots=True)
class Advertisement:
    """Communities, as values in order, for every route inside *prefix*."""

    prefix: Network
    communities: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """BGP's settings of one host, defaults filled in. ``listen_port`` None is 179.

    ``mesh_limit`` is the most hosts that a mesh may have, None for what is usual;
    ``may_have_none``: all sessions may be given up at once. ``peering_addresses`` are those at
    which workloads find this host, ``service_networks`` those of Kubernetes' services.
    ``draining``: the host is about to lose its routes, and says so to its neighbours.
    """

    name: str
    speaker: Speaker | None
    as_number: int
    cluster_as_number: int
    listen_port: int | None
    bind_to_node_address: bool
    mesh_enabled: bool
    mesh_password: SecretRef | None
    mesh_restart_time: int | None
    mesh_extras: Extras
    mesh_limit: int | None
    may_have_none: bool
    log_severity: str
    advertisements: tuple[Advertisement, ...]
    kind_communities: KindCommunities
    ignored_interfaces: tuple[str, ...]
    felix: FelixView
    peering_addresses: tuple[Address, ...]
    service_networks: tuple[Network, ...]
    program_unencapsulated: bool
    draining: bool

    @property
    def addresses(self) -> Mapping[Family, Address]:
        """This host's addresses by family; none without a Node."""
        return self.speaker.addresses if self.speaker else {}

    @property
    def cluster_id(self) -> str:
        """This host's route reflector cluster id, empty if it reflects nothing."""
        return self.speaker.cluster_id if self.speaker else ""


def settings_of(
    state: BgpState, name: str, version: BirdVersion = OLDEST_SUPPORTED
) -> tuple[Settings, tuple[Problem, ...]]:
    """Return the settings of host *name* and what of the datastore they had to leave out.

    *version* is that of the BIRD which is to follow them.
    Raises RefusedError where a resource that the whole configuration rests on is unusable, or the
    datastore is locked: defaults in its place could open sessions that nobody asked for.
    """
    if state.cluster is not None and state.cluster.spec.datastore_ready is False:
        raise RefusedError("the datastore is locked (ClusterInformation datastoreReady is false)")
    state.refuse_if_invalid("ClusterInformation", "default")
    state.refuse_if_invalid("BGPConfiguration", "default")
    state.refuse_if_invalid("BGPConfiguration", f"node.{name}")
    state.refuse_if_invalid("Node", name)
    problems: list[Problem] = []
    cluster = _configuration(state, "default")
    own = _configuration(state, f"node.{name}")
    speaker = speakers(state).get(name)
    cluster_as = _number(cluster.as_number) or DEFAULT_AS_NUMBER
    mesh_extras, mesh_problems = _mesh_extras(state)
    problems += mesh_problems
    default = state.configurations.get("default")
    felix, felix_problems = felix_view(state, name, cluster, version)
    problems += felix_problems
    settings = Settings(
        name=name,
        speaker=speaker,
        as_number=(speaker.as_number if speaker else None) or cluster_as,
        cluster_as_number=cluster_as,
        listen_port=own.listen_port or cluster.listen_port or None,
        bind_to_node_address=cluster.bind_mode == "NodeIP",
        mesh_enabled=cluster.node_to_node_mesh_enabled is not False,
        mesh_password=secret_ref(cluster.node_mesh_password),
        mesh_restart_time=seconds(cluster.node_mesh_max_restart_time),
        mesh_extras=mesh_extras,
        mesh_limit=_annotation(default, MESH_LIMIT_ANNOTATION, count, None, problems),
        may_have_none=_annotation(default, NO_SESSIONS_ANNOTATION, boolean, False, problems),
        log_severity=(own.log_severity_screen or cluster.log_severity_screen or "Info").lower(),
        advertisements=_advertisements(own if own.prefix_advertisements else cluster),
        kind_communities=_kind_communities(state, name, problems),
        ignored_interfaces=_ignored(cluster, problems),
        felix=felix,
        peering_addresses=_peering_addresses(cluster),
        service_networks=_service_networks(cluster),
        program_unencapsulated=cluster.program_cluster_routes
        not in ("Disabled", "EnabledIPIPOnly"),
        draining=_annotation(state.nodes.get(name), DRAIN_ANNOTATION, boolean, False, problems),
    )
    return settings, tuple(problems)


def speakers(state: BgpState) -> dict[str, Speaker]:
    """Return every node that has a BGP identity, by name in order."""
    cluster_port = _configuration(state, "default").listen_port or None
    found = {}
    for name, node in sorted(state.nodes.items()):
        own_port = _configuration(state, f"node.{name}").listen_port or None
        speaker = _speaker(name, node, own_port or cluster_port)
        if speaker is not None:
            found[name] = speaker
    return found


def secret_ref(password: BgpPassword | None) -> SecretRef | None:
    """Return which secret a password is, None if there is none."""
    if password is None or password.secret_key_ref is None:
        return None
    return SecretRef(password.secret_key_ref.name, password.secret_key_ref.key)


def seconds(text: str | None) -> int | None:
    """Return a duration in whole seconds, rounded; None for none, or what is no duration."""
    length = parse_duration(text) if text else None
    return None if length is None else max(0, round(length))


def can_be_peer(address: Address) -> bool:
    """Whether a BGP session can lead to *address* from any of a host's interfaces."""
    return not (
        address.is_link_local
        or address.is_loopback
        or address.is_multicast
        or address.is_unspecified
    )


def hashed_router_id(name: str) -> IPv4Address:
    """Return a router id made from a host's name: the head of its SHA-256, below 224.0.0.0."""
    octets = bytearray(hashlib.sha256(name.encode()).digest()[:4])
    if octets[0] > 223:
        octets[0] -= 32
    return IPv4Address(bytes(octets))


def _speaker(name: str, node: Node, listen_port: int | None) -> Speaker | None:
    bgp = node.spec.bgp
    if bgp is None:
        return None
    addresses: dict[Family, Address] = {}
    for family, text in ((4, bgp.ipv4_address), (6, bgp.ipv6_address)):
        address = _address(text)
        if address is not None and address.version == family:
            addresses[address.version] = address
    return Speaker(
        name=name,
        labels=node.metadata.labels,
        addresses=addresses,
        as_number=_number(bgp.as_number),
        cluster_id=bgp.route_reflector_cluster_id,
        listen_port=listen_port,
        wireguard=_wireguard(node),
    )


def _wireguard(node: Node) -> frozenset[Family]:
    wireguard = node.spec.wireguard
    if wireguard is None:
        return frozenset()
    texts: dict[Family, str] = {
        4: wireguard.interface_ipv4_address,
        6: wireguard.interface_ipv6_address,
    }
    return frozenset(family for family, text in texts.items() if text)


def _configuration(state: BgpState, name: str) -> BGPConfigurationSpec:
    configuration = state.configurations.get(name)
    return configuration.spec if configuration else BGPConfigurationSpec()


def _mesh_extras(state: BgpState) -> tuple[Extras, tuple[Problem, ...]]:
    configuration = state.configurations.get("default")
    if configuration is None:
        return NO_EXTRAS, ()
    name = "BGPConfiguration default"
    extras, problems = extras_of(name, configuration.metadata.annotations)
    alone = {
        "direct": extras.direct,
        "interface": bool(extras.interface),
        "aggregates": extras.aggregates is not None,
    }
    for what, there in alone.items():
        if there:
            problems += (Problem(name, f"annotation {what}", "means nothing in the mesh"),)
    return replace(extras, direct=False, interface="", aggregates=None), problems


def _annotation(
    resource: Resource | None,
    annotation: str,
    parse: Callable[[str], _T],
    default: _T,
    problems: list[Problem],
) -> _T:
    text = resource.metadata.annotations.get(annotation) if resource else None
    if resource is None or text is None:
        return default
    try:
        return parse(text)
    except ValueError as error:
        where = f"metadata.annotations[{annotation}]"
        problems.append(Problem(f"{resource.KIND} {resource.metadata.name}", where, str(error)))
        return default


def _advertisements(spec: BGPConfigurationSpec) -> tuple[Advertisement, ...]:
    named = {community.name: community.value for community in spec.communities}
    result = []
    for advertisement in spec.prefix_advertisements:
        # Sorted as text, and without duplicates, as everybody else who reads this does it.
        texts = sorted({named.get(name, name) for name in advertisement.communities})
        values = [value for value in map(community_value, texts) if value is not None]
        prefix = parse_network(advertisement.cidr)
        if values and prefix is not None:
            result.append(Advertisement(prefix, tuple(values)))
    return tuple(sorted(result, key=lambda a: (a.prefix.version, a.prefix, a.communities)))


def _kind_communities(state: BgpState, name: str, problems: list[Problem]) -> KindCommunities:
    """Return those of the host's own configuration, and if it has none those of all."""
    own, default = (state.configurations.get(each) for each in (f"node.{name}", "default"))
    there = own is not None and COMMUNITIES_ANNOTATION in own.metadata.annotations
    nothing: KindCommunities = {}
    resource = own if there else default
    return _annotation(resource, COMMUNITIES_ANNOTATION, kind_communities, nothing, problems)


def _peering_addresses(spec: BGPConfigurationSpec) -> tuple[Address, ...]:
    texts = (spec.local_workload_peering_ipv4, spec.local_workload_peering_ipv6)
    return tuple(address for text in texts if (address := parse_address(text)) is not None)


def _service_networks(spec: BGPConfigurationSpec) -> tuple[Network, ...]:
    """Return the networks of Kubernetes' services, in order."""
    blocks = (
        *spec.service_cluster_ips,
        *spec.service_external_ips,
        *spec.service_load_balancer_ips,
    )
    found = {n for block in blocks if (n := parse_network(block.cidr)) is not None}
    return tuple(sorted(found, key=lambda n: (n.version, n)))


def _ignored(spec: BGPConfigurationSpec, problems: list[Problem]) -> tuple[str, ...]:
    usable = []
    for pattern in spec.ignored_interfaces:
        if _INTERFACE_PATTERN.fullmatch(pattern) and pattern != "*":
            usable.append(pattern)
        else:
            reason = f"{pattern!r} is no interface pattern; left out"
            problems.append(Problem("BGPConfiguration default", "spec.ignoredInterfaces", reason))
    return tuple(usable)


def _address(text: str) -> Address | None:
    address = parse_address(text.partition("/")[0])
    return address if address is not None and can_be_peer(address) else None


def _number(value: int | str | None) -> int | None:
    return None if value is None else as_number(value)
