"""What a change in the database is about, and its consequences in etcd.

A change names an object and says nothing of what happened to it: its consequences follow from
the database as it is when they are drawn.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field

from calico_openstack.neutron import reading
from calico_openstack.neutron.reading_logs import ports_of_project


class Kind(enum.StrEnum):
    """What the id of a change is the id of, and so which keys may differ."""

    PORT = "port"
    """A port: its endpoints."""
    ENDPOINT = "endpoint"
    """The name of an endpoint that a port may have left."""
    GROUP = "group"
    """A security group, or a network log by the id of its policy: the policy."""
    GROUP_MEMBERS = "group-members"
    """A security group: its members' endpoints."""
    ADDRESS_GROUP = "address-group"
    """An address group: the policies of the security groups that name it."""
    SUBNET = "subnet"
    """A subnet: the DHCP agents' value."""
    SUBNET_PORTS = "subnet-ports"
    """A subnet: the endpoints of its ports."""
    NETWORK_PORTS = "network-ports"
    """A network: the endpoints of its ports."""
    PROJECT_PORTS = "project-ports"
    """A project: the endpoints of its ports."""
    QOS_POLICY = "qos-policy"
    """A QoS policy: the endpoints of the ports for which it is in force."""


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """Something of ``kind`` with this ``id`` has changed."""

    kind: Kind
    id: str

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"


@dataclass(slots=True)
class Concerned:
    """The objects to synchronise; ``left`` are names of endpoints."""

    ports: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)
    subnets: set[str] = field(default_factory=set)

    def add(self, other: Concerned) -> None:
        """Add what another names."""
        self.ports |= other.ports
        self.left |= other.left
        self.groups |= other.groups
        self.subnets |= other.subnets


def concerned_by(changes: Iterable[Change]) -> Concerned:
    """Return the objects whose keys follow from changes; reads the database."""
    concerned = Concerned()
    for change in sorted(set(changes)):
        _add(concerned, change)
    return concerned


def _add(concerned: Concerned, change: Change) -> None:
    match change.kind:
        case Kind.PORT:
            concerned.ports.add(change.id)
        case Kind.ENDPOINT:
            concerned.left.add(change.id)
        case Kind.GROUP:
            concerned.groups.add(change.id)
        case Kind.GROUP_MEMBERS:
            concerned.ports.update(reading.ports_of_group(change.id))
        case Kind.ADDRESS_GROUP:
            concerned.groups.update(reading.groups_with_address_group(change.id))
        case Kind.SUBNET:
            concerned.subnets.add(change.id)
        case Kind.SUBNET_PORTS:
            concerned.ports.update(reading.ports_of_subnet(change.id))
        case Kind.NETWORK_PORTS:
            concerned.ports.update(reading.ports_of_network(change.id))
        case Kind.PROJECT_PORTS:
            concerned.ports.update(ports_of_project(change.id))
        case Kind.QOS_POLICY:
            concerned.ports.update(reading.ports_of_qos_policy(change.id))
