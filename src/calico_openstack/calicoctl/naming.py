"""What things of Neutron are called: their names, with ids on demand. Pure.

Neutron's driver stores names beside ids: those of groups, networks and projects in labels, those of
ports and guests in annotations. Labels have fewer characters than names, so some are not quite as
users wrote them. Which of the two is shown is a setting of the whole run, as a language would be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from typing import Final

from msgspec import Struct, field

from calico_openstack.datamodel import WorkloadEndpoint
from calico_openstack.datamodel.openstack import (
    FQDN_ANNOTATION,
    GROUP_LABEL,
    GROUP_POLICY,
    GUEST_NAME_ANNOTATION,
    NETWORK_ANNOTATION,
    NETWORK_NAME_LABEL,
    PORT_NAME_ANNOTATION,
    PROJECT_ID_LABEL,
    PROJECT_NAME_LABEL,
)

_MADE_UP: Final = re.compile(r"host-[0-9a-f-]+")
# Ids of Neutron and Nova are UUIDs, those of Keystone are without hyphens. Around them may stand
# what makes them the name of a policy or a selector.
_ID: Final = r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}"
_MENTION: Final = re.compile(
    rf"has\({re.escape(GROUP_LABEL)}(?P<members>{_ID})\)"
    # Chains of nftables are called in-np/..., and keep that name.
    rf"|(?<![\w/-])(?:np/[\w.-]+/)?{re.escape(GROUP_POLICY)}(?P<policy>{_ID})"
    r"|\btap(?P<tap>[0-9a-f]{8}-[0-9a-f]{2})\b"
    rf"|(?P<endpoint>[\w.-]+/[\w.-]+-openstack-[\w.-]+)"
    rf"|(?<![\w.-])(?P<id>{_ID})(?![\w-])"
)


class Naming(StrEnum):
    """How things are called."""

    NAMES = "names"
    IDS = "ids"
    BOTH = "both"


_CURRENT: Final[ContextVar[Naming]] = ContextVar("naming", default=Naming.NAMES)


def set_naming(naming: Naming) -> None:
    """Call things so from now on."""
    _CURRENT.set(naming)


@contextmanager
def naming_as(naming: Naming) -> Iterator[None]:
    """Call things so for a while."""
    token = _CURRENT.set(naming)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def called(name: str, identity: str) -> str:
    """Return what something is called; without a name, its id."""
    naming = _CURRENT.get()
    if not name or name == identity or naming is Naming.IDS:
        return identity
    return f"{name} ({identity})" if naming is Naming.BOTH and identity else name


def shows_names() -> bool:
    """Tell whether names are shown at all."""
    return _CURRENT.get() is not Naming.IDS


class Metadata(Struct):
    """The labels and annotations of an endpoint."""

    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}


class Spec(Struct):
    """What else names an endpoint."""

    endpoint: str = ""
    workload: str = ""
    interface_name: str = field(default="", name="interfaceName")
    ip_networks: Sequence[str] = field(default=(), name="ipNetworks")


class Named(Struct):
    """An endpoint, as far as names go; quicker to read than the whole."""

    metadata: Metadata
    spec: Spec


def port_name(annotations: Mapping[str, str]) -> str:
    """Return what people call a port: its name, or that of its guest; "" for neither."""
    return annotations.get(PORT_NAME_ANNOTATION, "") or guest_name(annotations)


def guest_name(annotations: Mapping[str, str]) -> str:
    """Return the name of a port's guest without a domain, "" if it has none."""
    name = annotations.get(GUEST_NAME_ANNOTATION, "")
    if name:
        return name.rstrip(".")
    first = annotations.get(FQDN_ANNOTATION, "").partition(".")[0]
    # Neutron makes a name of the address where nobody gave one.
    return "" if _MADE_UP.fullmatch(first) else first


def names_in(annotations: Mapping[str, str]) -> set[str]:
    """Return all names by which a port may be asked for."""
    fqdn = annotations.get(FQDN_ANNOTATION, "").rstrip(".")
    own = annotations.get(PORT_NAME_ANNOTATION, "")
    guest = annotations.get(GUEST_NAME_ANNOTATION, "").rstrip(".")
    return {own, guest, fqdn, fqdn.partition(".")[0]} - {""}


def port_title(annotations: Mapping[str, str], port: str) -> str:
    """Return what a port is called."""
    return called(port_name(annotations), port)


def network_title(metadata: Metadata) -> str:
    """Return what the network of an endpoint is called."""
    name = metadata.labels.get(NETWORK_NAME_LABEL, "")
    return called(name, metadata.annotations.get(NETWORK_ANNOTATION, ""))


def project_title(labels: Mapping[str, str]) -> str:
    """Return what the project of an endpoint is called."""
    return called(labels.get(PROJECT_NAME_LABEL, ""), labels.get(PROJECT_ID_LABEL, ""))


def group_titles(labels: Mapping[str, str]) -> Iterator[str]:
    """Yield what the security groups of an endpoint are called."""
    for label, name in sorted(labels.items()):
        if label.startswith(GROUP_LABEL):
            yield called(name, label.removeprefix(GROUP_LABEL))


class Directory(Struct):
    """Names by ids: of ports, groups, other things, and of ports by interface.

    *places* are the interface and the first address of each port that has a name.
    """

    things: dict[str, str] = {}
    groups: dict[str, str] = {}
    interfaces: dict[str, str] = {}
    ports: dict[str, str] = {}
    places: dict[str, tuple[str, str]] = {}

    def add(self, endpoint: Named | WorkloadEndpoint) -> None:
        """Take up the names that an endpoint tells."""
        labels, annotations = endpoint.metadata.labels, endpoint.metadata.annotations
        spec = endpoint.spec
        for label, value in labels.items():
            if value and label.startswith(GROUP_LABEL):
                self.groups[label.removeprefix(GROUP_LABEL)] = value
        for name, identity in (
            (labels.get(NETWORK_NAME_LABEL, ""), annotations.get(NETWORK_ANNOTATION, "")),
            (labels.get(PROJECT_NAME_LABEL, ""), labels.get(PROJECT_ID_LABEL, "")),
            (guest_name(annotations), spec.workload),
        ):
            if name and identity:
                self.things[identity] = name
        if name := port_name(annotations):
            self.ports[spec.endpoint] = name
            self.interfaces[spec.interface_name] = name
            address = next(iter(spec.ip_networks), "").partition("/")[0]
            self.places[spec.endpoint] = spec.interface_name, address

    def port(self, identity: str) -> str:
        """Return what a port is called."""
        return called(self.ports.get(identity, ""), identity)

    def group(self, policy: str) -> str:
        """Return what a security group is called, by its policy's name; other names stay."""
        if not policy.startswith(GROUP_POLICY):
            return policy
        identity = policy.removeprefix(GROUP_POLICY)
        return f"security group {called(self.groups.get(identity, ''), identity)}"


def readable(text: str, directory: Directory, *, interfaces: bool = True) -> str:
    """Return a text of an agent with names in place of the ids that it mentions.

    An interface has no name; with *interfaces* that of its port is added to it.
    """
    if not shows_names():
        return text

    def instead(found: re.Match[str]) -> str:
        if identity := found["members"]:
            name = called(directory.groups.get(identity, ""), identity)
            return f"members of security group {name}"
        if identity := found["policy"]:
            return directory.group(GROUP_POLICY + identity)
        if found["tap"]:
            name = directory.interfaces.get(found[0], "") if interfaces else ""
            return f"{found[0]} ({name})" if name else found[0]
        if found["endpoint"]:
            return _endpoint(found[0], directory)
        identity = found["id"]
        tables = (directory.ports, directory.things, directory.groups)
        return called(next(filter(None, (each.get(identity) for each in tables)), ""), identity)

    return _MENTION.sub(instead, text)


def _endpoint(text: str, directory: Directory) -> str:
    """Return a key of an endpoint (NAMESPACE/NAME) as its port."""
    # In the name hyphens are doubled, and single ones are between its four parts.
    parts = re.split(r"(?<!-)-(?!-)", text.rpartition("/")[2])
    identity = parts[-1].replace("--", "-")
    name = directory.ports.get(identity, "")
    return called(f"port {name}" if name else "", text)


def directory_of(endpoints: Iterable[Named | WorkloadEndpoint]) -> Directory:
    """Return the names that endpoints tell."""
    found = Directory({}, {}, {}, {}, {})
    for endpoint in endpoints:
        found.add(endpoint)
    return found
