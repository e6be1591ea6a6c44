"""Rules of policies and profiles."""

from __future__ import annotations

from typing import Any

import msgspec

from calico_openstack.datamodel.ports import normalised_port
from calico_openstack.datamodel.protocols import normalised_protocol
from calico_openstack.datamodel.resource import JsonObject


class IcmpMatch(JsonObject, frozen=True, kw_only=True):
    """ICMP type (0 to 254) and code (0 to 255); a code needs a type."""

    type: int | None = None
    code: int | None = None


class ServiceMatch(JsonObject, frozen=True, kw_only=True):
    """A Kubernetes service. Understood only in order to be refused by validation."""

    name: str = ""
    namespace: str = ""


class ServiceAccountMatch(JsonObject, frozen=True, kw_only=True):
    """Kubernetes service accounts by name or label selector."""

    names: tuple[str, ...] = ()
    selector: str = ""


class EntityRule(JsonObject, frozen=True, kw_only=True):
    """What a rule asks of the source or of the destination of a packet.

    ``ports`` and ``not_ports`` hold numbers, ranges ``"lo:hi"`` and port names; see ``ports``.
    """

    nets: tuple[str, ...] = ()
    not_nets: tuple[str, ...] = ()
    selector: str = ""
    not_selector: str = ""
    namespace_selector: str = ""
    ports: tuple[int | str, ...] = ()
    not_ports: tuple[int | str, ...] = ()
    services: ServiceMatch | None = None
    service_accounts: ServiceAccountMatch | None = None

    def __post_init__(self) -> None:
        if self.ports:
            _force(self, "ports", tuple(map(normalised_port, self.ports)))
        if self.not_ports:
            _force(self, "not_ports", tuple(map(normalised_port, self.not_ports)))


ANY_ENTITY = EntityRule()
"""The entity that asks for nothing."""


class RuleMetadata(JsonObject, frozen=True, kw_only=True):
    """Annotations of one rule; they become comments."""

    annotations: dict[str, str] = msgspec.field(default_factory=dict)


class Rule(JsonObject, frozen=True, kw_only=True):
    """One rule. ``action`` is Allow, Deny, Log or Pass; absent criteria match everything.

    ``protocol`` and ``not_protocol`` are numbers or names; see ``protocols``. ``http`` is kept
    only so that validation can refuse it.
    """

    action: str
    ip_version: int | None = msgspec.field(default=None, name="ipVersion")
    protocol: int | str | None = None
    not_protocol: int | str | None = None
    icmp: IcmpMatch | None = None
    not_icmp: IcmpMatch | None = msgspec.field(default=None, name="notICMP")
    destination: EntityRule = ANY_ENTITY
    source: EntityRule = ANY_ENTITY
    http: dict[str, Any] | None = None
    metadata: RuleMetadata | None = None

    def __post_init__(self) -> None:
        if self.protocol is not None:
            _force(self, "protocol", normalised_protocol(self.protocol))
        if self.not_protocol is not None:
            _force(self, "not_protocol", normalised_protocol(self.not_protocol))
        # One shared object for the empty entity: it is recognised by identity when writing.
        if self.source == ANY_ENTITY:
            _force(self, "source", ANY_ENTITY)
        if self.destination == ANY_ENTITY:
            _force(self, "destination", ANY_ENTITY)


_force = msgspec.structs.force_setattr
