"""What BGPConfiguration, Node and FelixConfiguration mean for one host. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import Any, Final

from calico_openstack.bgp.detection import Family
from calico_openstack.bgp.extras import DRAIN_ANNOTATION, NO_EXTRAS, Extras, boolean, extras_of
from calico_openstack.bgp.state import BgpState, Problem, RefusedError
from calico_openstack.datamodel.addresses import Address, Network, parse_address, parse_network
from calico_openstack.datamodel.asnumber import as_number
from calico_openstack.datamodel.bgp import BGPConfigurationSpec, BgpPassword
from calico_openstack.datamodel.durations import parse_duration
from calico_openstack.datamodel.nodes import Node

FAMILIES: Final[tuple[Family, ...]] = (4, 6)
DEFAULT_AS_NUMBER: Final = 64512
DEFAULT_INTERFACE_PREFIX: Final = "cali"
# The interfaces of OpenStack's workloads, whatever FelixConfiguration says.
OPENSTACK_INTERFACE_PREFIX: Final = "tap"
# Felix programs routes under its DeviceRouteProtocol, 3 ("boot") unless configured, and 80.
ROUTE_PROTOCOLS: Final = (3, 80)
NORMAL_PRIORITY: Final = 1024
ELEVATED_PRIORITY: Final = 512
# Between the two defaults above, so that BIRD's route never has the metric of one of Felix's.
PREFERRED_KERNEL_METRIC: Final = 600

_INTERFACE_PREFIX = re.compile(r"[a-zA-Z0-9_.-]{1,15}")
_INTERFACE_PATTERN = re.compile(r"[a-zA-Z0-9_.*-]{1,15}")


@dataclass(frozen=True, slots=True, order=True)
class SecretRef:
    """The name of a password: a secret and a key in it."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Speaker:
    """A node as a BGP speaker. ``as_number`` and ``listen_port`` None: that of the cluster.

    ``cluster_id`` is empty unless the node reflects routes.
    """

    name: str
    labels: Mapping[str, str]
    addresses: Mapping[Family, Address]
    as_number: int | None
    cluster_id: str
    listen_port: int | None


@dataclass(frozen=True, slots=True)
class Priorities:
    """Kernel metrics of one family: of workload routes, of routes during a live migration, and
    the one that BIRD's own routes get."""

    normal: int = NORMAL_PRIORITY
    elevated: int = ELEVATED_PRIORITY
    kernel: int = PREFERRED_KERNEL_METRIC


@dataclass(frozen=True, slots=True)
class Advertisement:
    """Communities, as values in order, for every route inside *prefix*."""

    prefix: Network
    communities: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """BGP's settings of one host, defaults filled in. ``listen_port`` None is 179.

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
    log_severity: str
    advertisements: tuple[Advertisement, ...]
    ignored_interfaces: tuple[str, ...]
    workload_prefixes: tuple[str, ...]
    route_protocols: tuple[int, ...]
    priorities: Mapping[Family, Priorities]
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


def settings_of(state: BgpState, name: str) -> tuple[Settings, tuple[Problem, ...]]:
    """Return the settings of host *name* and what of the datastore they had to leave out.

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
    prefixes, protocols, priorities = _felix(state, name, cluster, problems)
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
        log_severity=(own.log_severity_screen or cluster.log_severity_screen or "Info").lower(),
        advertisements=_advertisements(own if own.prefix_advertisements else cluster),
        ignored_interfaces=_ignored(cluster, problems),
        workload_prefixes=prefixes,
        route_protocols=protocols,
        priorities=priorities,
        program_unencapsulated=cluster.program_cluster_routes
        not in ("Disabled", "EnabledIPIPOnly"),
        draining=_draining(state, name, problems),
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


def community_value(text: str) -> tuple[int, ...] | None:
    """Read ``aa:nn`` (16 bits each) or ``aa:nn:mm`` (32 bits each); None if it is neither."""
    parts = text.split(":")
    if len(parts) not in (2, 3) or not all(part.isascii() and part.isdigit() for part in parts):
        return None
    value = tuple(int(part) for part in parts)
    limit = 0xFFFF if len(parts) == 2 else 0xFFFFFFFF
    return value if max(value) <= limit else None


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
    )


def _configuration(state: BgpState, name: str) -> BGPConfigurationSpec:
    configuration = state.configurations.get(name)
    return configuration.spec if configuration else BGPConfigurationSpec()


def _mesh_extras(state: BgpState) -> tuple[Extras, tuple[Problem, ...]]:
    configuration = state.configurations.get("default")
    if configuration is None:
        return NO_EXTRAS, ()
    name = "BGPConfiguration default"
    extras, problems = extras_of(name, configuration.metadata.annotations)
    for what, there in (("direct", extras.direct), ("aggregates", extras.aggregates is not None)):
        if there:
            problems += (Problem(name, f"annotation {what}", "means nothing in the mesh"),)
    return replace(extras, direct=False, aggregates=None), problems


def _draining(state: BgpState, name: str, problems: list[Problem]) -> bool:
    node = state.nodes.get(name)
    text = node.metadata.annotations.get(DRAIN_ANNOTATION, "") if node else ""
    try:
        return boolean(text)
    except ValueError as error:
        where = f"metadata.annotations[{DRAIN_ANNOTATION}]"
        problems.append(Problem(f"Node {name}", where, str(error)))
        return False


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


def _ignored(spec: BGPConfigurationSpec, problems: list[Problem]) -> tuple[str, ...]:
    usable = []
    for pattern in spec.ignored_interfaces:
        if _INTERFACE_PATTERN.fullmatch(pattern) and pattern != "*":
            usable.append(pattern)
        else:
            reason = f"{pattern!r} is no interface pattern; left out"
            problems.append(Problem("BGPConfiguration default", "spec.ignoredInterfaces", reason))
    return tuple(usable)


def _felix(
    state: BgpState, name: str, bgp: BGPConfigurationSpec, problems: list[Problem]
) -> tuple[tuple[str, ...], tuple[int, ...], dict[Family, Priorities]]:
    """Return workload interface prefixes, route protocols and priorities, as Felix has them."""
    parameters: dict[str, Any] = {}
    for configuration in ("default", f"node.{name}"):
        resource = state.felix.get(configuration)
        parameters |= resource.spec if resource else {}
    text = parameters.get("interfacePrefix")
    named = text if isinstance(text, str) and text else DEFAULT_INTERFACE_PREFIX
    prefixes = {OPENSTACK_INTERFACE_PREFIX}
    for prefix in named.split(","):
        if _INTERFACE_PREFIX.fullmatch(prefix.strip()):
            prefixes.add(prefix.strip())
        else:
            reason = f"{prefix!r} is no interface prefix; left out"
            problems.append(Problem("FelixConfiguration", "spec.interfacePrefix", reason))
    protocol = _integer(parameters.get("deviceRouteProtocol"), 1, 255)
    protocols = {*ROUTE_PROTOCOLS, *([protocol] if protocol else [])}
    configured: Mapping[Family, int | None] = {
        4: bgp.ipv4_normal_route_priority,
        6: bgp.ipv6_normal_route_priority,
    }
    priorities = {f: _priorities(f, parameters, configured[f], problems) for f in FAMILIES}
    return tuple(sorted(prefixes)), tuple(sorted(protocols)), priorities


def _priorities(
    family: Family, felix: Mapping[str, Any], configured: int | None, problems: list[Problem]
) -> Priorities:
    member = f"ipv{family}NormalRoutePriority"
    in_felix = _integer(felix.get(member), 1, 2**31 - 2)
    if configured and configured != (in_felix or NORMAL_PRIORITY):
        reason = f"{configured} differs from Felix's {in_felix or NORMAL_PRIORITY}, which counts"
        problems.append(Problem("BGPConfiguration default", f"spec.{member}", reason))
    normal = in_felix or NORMAL_PRIORITY
    elevated = _integer(felix.get(f"ipv{family}ElevatedRoutePriority"), 1, 2**31 - 2)
    elevated = elevated or ELEVATED_PRIORITY
    if normal - elevated < 2:
        raise RefusedError(
            f"FelixConfiguration: no metric is between the elevated IPv{family} route priority "
            f"{elevated} and the normal {normal}; BIRD's routes need one"
        )
    kernel = PREFERRED_KERNEL_METRIC
    if not elevated < kernel < normal:
        kernel = (elevated + normal) // 2
    return Priorities(normal, elevated, kernel)


def _address(text: str) -> Address | None:
    address = parse_address(text.partition("/")[0])
    return address if address is not None and can_be_peer(address) else None


def _number(value: int | str | None) -> int | None:
    return None if value is None else as_number(value)


def _integer(value: object, lowest: int, highest: int) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if lowest <= value <= highest else None
