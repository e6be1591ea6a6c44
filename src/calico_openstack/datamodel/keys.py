"""Keys in etcd: building them, and finding out what a key is for.

Keys of v3 resources hold namespace and name as they are; a reader undoes ``%2f`` and ``%25``. In
the keys of status and DHCP values each variable segment but the host is escaped.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from calico_openstack.datamodel.kinds import KINDS, KINDS_BY_PLURAL

RESOURCE_PREFIX: Final = "/calico/resources/v3/projectcalico.org/"
FELIX_STATUS_PREFIX: Final = "/calico/felix/v2/"
HOST_ENDPOINT_STATUS_PREFIX: Final = "/calico/felix/v1/host/"
DHCP_PREFIX: Final = "/calico/dhcp/v2/"

NO_REGION: Final = "no-region"
_REGION: Final = "region-"
_NAMESPACE: Final = "openstack"
# A namespace is a DNS label of at most 63 characters: 63 - len("openstack-region-").
MAX_REGION_LENGTH: Final = 46
# How bytes that are not UTF-8 come in a key (PEP 383).
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_DNS_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")


class ResourceKey(msgspec.Struct, frozen=True, gc=False):
    """Key of a v3 resource; ``namespace`` is empty for kinds of the whole cluster."""

    kind: str
    name: str
    namespace: str = ""

    @property
    def path(self) -> str:
        """The key's text. Raises KeyError for a kind that is not known."""
        return prefix_of(self.kind, self.namespace) + self.name


class DhcpSubnetKey(msgspec.Struct, frozen=True, gc=False):
    """Key of a DHCP subnet; ``region`` is a region string (``no-region``, ``region-<name>``)."""

    region: str
    subnet_id: str

    @property
    def path(self) -> str:
        """The key's text."""
        return dhcp_subnet_prefix(self.region) + escaped(self.subnet_id)


class DhcpStatusKey(msgspec.Struct, frozen=True, gc=False):
    """Key of a DHCP agent's sign of life, which expires. Upstream has none."""

    region: str
    host: str

    @property
    def path(self) -> str:
        """The key's text."""
        return f"{dhcp_status_prefix(self.region)}{self.host}/status"


class FelixStatusKey(msgspec.Struct, frozen=True, gc=False):
    """Key of a Felix's sign of life, which expires."""

    region: str
    host: str

    @property
    def path(self) -> str:
        """The key's text."""
        return f"{felix_status_prefix(self.region)}{self.host}/status"


class LastReportedStatusKey(msgspec.Struct, frozen=True, gc=False):
    """Key of the last sign of life of a Felix, which stays."""

    region: str
    host: str

    @property
    def path(self) -> str:
        """The key's text."""
        return f"{felix_status_prefix(self.region)}{self.host}/last_reported_status"


class EndpointStatusKey(msgspec.Struct, frozen=True, gc=False):
    """Key of a workload endpoint's status; ``workload`` is ``<namespace>/<workload>``."""

    region: str
    host: str
    orchestrator: str
    workload: str
    endpoint: str

    @property
    def path(self) -> str:
        """The key's text."""
        return (
            f"{endpoint_status_prefix(self.region, self.host)}{escaped(self.orchestrator)}"
            f"/{escaped(self.workload)}/endpoint/{escaped(self.endpoint)}"
        )


class HostEndpointStatusKey(msgspec.Struct, frozen=True, gc=False):
    """Key of a host endpoint's status. It has no region."""

    host: str
    name: str

    @property
    def path(self) -> str:
        """The key's text."""
        return f"{host_endpoint_status_prefix(self.host)}{escaped(self.name)}"


Key = (
    ResourceKey
    | DhcpSubnetKey
    | DhcpStatusKey
    | FelixStatusKey
    | LastReportedStatusKey
    | EndpointStatusKey
    | HostEndpointStatusKey
)


def escaped(segment: str) -> str:
    """Return a variable segment as it stands in a key of status or DHCP values."""
    return segment.replace("%", "%25").replace("/", "%2f")


def unescaped(segment: str) -> str:
    """Undo ``escaped``."""
    if "%" not in segment:
        return segment
    return segment.replace("%2f", "/").replace("%25", "%")


def prefix_of(kind: str, namespace: str = "") -> str:
    """Return the prefix of all keys of a kind, or of one namespace of it; ends with ``/``.

    Raises KeyError for a kind that is not known.
    """
    prefix = f"{RESOURCE_PREFIX}{KINDS[kind].plural}/"
    return f"{prefix}{namespace}/" if namespace else prefix


def is_region(name: str) -> bool:
    """Tell whether ``name`` can be a region: a DNS label of at most 46 characters."""
    return len(name) <= MAX_REGION_LENGTH and _DNS_LABEL.fullmatch(name) is not None


def region_string(region: str | None) -> str:
    """Return a region's name as it stands in keys: ``no-region`` or ``region-<name>``."""
    return _REGION + region if region else NO_REGION


def openstack_namespace(region: str | None) -> str:
    """Return the namespace of a region's workload endpoints and policies."""
    return f"{_NAMESPACE}-{_REGION}{region}" if region else _NAMESPACE


def dhcp_subnet_prefix(region: str) -> str:
    """Return the prefix of the DHCP subnets of a region string; ends with ``/``."""
    return f"{DHCP_PREFIX}{region}/subnet/"


def dhcp_status_prefix(region: str) -> str:
    """Return the prefix of all DHCP agents' status in a region string; ends with ``/``."""
    return f"{DHCP_PREFIX}{region}/host/"


def felix_status_prefix(region: str) -> str:
    """Return the prefix of all hosts' status in a region string; ends with ``/``."""
    return f"{FELIX_STATUS_PREFIX}{region}/host/"


def endpoint_status_prefix(region: str, host: str) -> str:
    """Return the prefix of the status of a host's workload endpoints; ends with ``/``."""
    return f"{felix_status_prefix(region)}{host}/workload/"


def host_endpoint_status_prefix(host: str) -> str:
    """Return the prefix of the status of a host's own endpoints; ends with ``/``."""
    return f"{HOST_ENDPOINT_STATUS_PREFIX}{host}/endpoint/"


def workload_endpoint_prefix(namespace: str, node: str, orchestrator: str = "openstack") -> str:
    """Return the prefix of the keys of one host's workload endpoints."""
    host = _doubled(node)
    return f"{prefix_of('WorkloadEndpoint', namespace)}{host}-{_doubled(orchestrator)}-"


def workload_endpoint_name(node: str, orchestrator: str, workload: str, endpoint: str) -> str:
    """Return the name of a workload endpoint: its parts, dashes doubled, joined by one dash.

    Raises ValueError if a part is empty or begins or ends with a dash: such a name could not be
    taken apart again.
    """
    parts = (node, orchestrator, workload, endpoint)
    for part in parts:
        if not part or part[0] == "-" or part[-1] == "-":
            raise ValueError(f"{part!r} cannot be part of a workload endpoint's name")
    return "-".join(map(_doubled, parts))


def parse_workload_endpoint_name(name: str) -> tuple[str, str, str, str] | None:
    """Return node, orchestrator, workload and endpoint of a name, None if it is no such name."""
    if "\0" in name:
        return None
    parts = name.replace("--", "\0").split("-")
    if len(parts) != 4:
        return None
    for part in parts:
        if not part or part[0] == "\0" or part[-1] == "\0":
            return None
    node, orchestrator, workload, endpoint = (part.replace("\0", "-") for part in parts)
    return node, orchestrator, workload, endpoint


def parse_key(path: str) -> Key | None:
    """Return what a key is for; None if it is none that is known here, or not even text."""
    if not path.isascii() and _SURROGATE.search(path):
        return None
    if path.startswith(RESOURCE_PREFIX):
        return _parse_resource_key(path[len(RESOURCE_PREFIX) :].split("/"))
    if path.startswith(FELIX_STATUS_PREFIX):
        return _parse_status_key(path[len(FELIX_STATUS_PREFIX) :].split("/"))
    if path.startswith(DHCP_PREFIX):
        return _parse_dhcp_key(path[len(DHCP_PREFIX) :].split("/"))
    if path.startswith(HOST_ENDPOINT_STATUS_PREFIX):
        match path[len(HOST_ENDPOINT_STATUS_PREFIX) :].split("/"):
            case [host, "endpoint", name] if host and name:
                return HostEndpointStatusKey(host, unescaped(name))
    return None


def _parse_resource_key(segments: list[str]) -> ResourceKey | None:
    """Parse what follows the common prefix: plural, namespace if the kind has one, name."""
    kind = KINDS_BY_PLURAL.get(segments[0])
    if kind is None or len(segments) != (3 if kind.namespaced else 2) or not all(segments):
        return None
    if kind.namespaced:
        return ResourceKey(kind.name, unescaped(segments[2]), unescaped(segments[1]))
    return ResourceKey(kind.name, unescaped(segments[1]))


def _parse_dhcp_key(segments: list[str]) -> Key | None:
    """Parse what follows ``/calico/dhcp/v2/``."""
    if not all(segments):
        return None
    match segments:
        case [region, "subnet", subnet]:
            return DhcpSubnetKey(region, unescaped(subnet))
        case [region, "host", host, "status"]:
            return DhcpStatusKey(region, host)
    return None


def _parse_status_key(segments: list[str]) -> Key | None:
    """Parse what follows ``/calico/felix/v2/``."""
    if not all(segments):
        return None
    match segments:
        case [region, "host", host, "status"]:
            return FelixStatusKey(region, host)
        case [region, "host", host, "last_reported_status"]:
            return LastReportedStatusKey(region, host)
        case [region, "host", host, "workload", orchestrator, workload, "endpoint", endpoint]:
            return EndpointStatusKey(
                region, host, unescaped(orchestrator), unescaped(workload), unescaped(endpoint)
            )
    return None


def _doubled(part: str) -> str:
    return part.replace("-", "--")
