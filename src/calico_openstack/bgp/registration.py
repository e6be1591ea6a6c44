"""Keeps this host's Node in etcd as the host's configuration and addresses say.

It creates and changes this one object. It never makes pools or Felix overrides, which would change
what hosts export and what workloads may reach.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_interface
from typing import Any, Final

from calico_openstack.bgp import node
from calico_openstack.bgp.detection import (
    CanReach,
    DetectionError,
    Family,
    HostAddress,
    HostInterface,
    Method,
    choose_address,
    with_mask,
)
from calico_openstack.bgp.interfaces import read_interfaces, source_towards
from calico_openstack.bgp.settings import FAMILIES
from calico_openstack.datamodel.keys import ResourceKey, parse_key, prefix_of
from calico_openstack.etcd import EtcdClient

_log = logging.getLogger(__name__)

_ATTEMPTS: Final = 10


class RegistrationError(Exception):
    """The Node cannot be registered as it should; the message says why."""


@dataclass(frozen=True, slots=True)
class AddressSource:
    """Where an address of one family comes from.

    ``setting`` is ``autodetect``, ``none``, an address with or without mask, or empty: detected
    for IPv4 if the Node has none yet, left alone for IPv6.
    """

    setting: str
    method: Method


@dataclass(frozen=True, slots=True)
class Registration:
    """What this host writes about itself; see ``node.Wanted``."""

    name: str
    host_id: str
    sources: Mapping[Family, AddressSource]
    labels: Mapping[str, str] = field(default_factory=dict)
    as_number: int | None = None
    check_conflicts: bool = True


def register(client: EtcdClient, registration: Registration) -> tuple[str, ...]:
    """Create or update the Node by compare-and-swap; nothing is written if nothing changes.

    Returns what is wrong beside it (an address that was not found, or that another Node has).
    Raises RegistrationError for a stored Node that cannot be read, OSError and EtcdError.
    """
    key = ResourceKey("Node", registration.name).path
    interfaces = read_interfaces()
    for _ in range(_ATTEMPTS):
        stored = client.get(key)
        existing = _object(stored.value, key) if stored else None
        addresses, faults = _addresses(registration, existing, interfaces)
        if registration.check_conflicts and any(addresses.values()):
            faults += _drop_conflicts(client, registration.name, addresses)
        wanted = node.Wanted(
            name=registration.name,
            host_id=registration.host_id,
            addresses=addresses,
            labels=registration.labels,
            as_number=registration.as_number,
        )
        merged = node.merged(existing, wanted, _identity())
        if merged == existing:
            return tuple(faults)
        value = json.dumps(merged, separators=(",", ":"), ensure_ascii=False).encode()
        revision = stored.mod_revision if stored else 0
        if client.put_if_unchanged(key, value, revision) is not None:
            _log.info("Registered Node %s: %s", registration.name, _summary(merged))
            return tuple(faults)
    raise RegistrationError(f"Node {registration.name} changes faster than it can be updated")


def detect(
    source: AddressSource,
    family: Family,
    stored: str,
    interfaces: list[HostInterface],
    towards: Callable[[str, Family], Any] = source_towards,
) -> HostAddress | None:
    """Return the address that *source* means; None for none at all.

    Raises LookupError if the family is to be left alone, DetectionError if nothing was found.
    """
    setting = source.setting
    if setting == "none":
        return None
    if setting not in ("", "autodetect"):
        address = ip_interface(setting)
        return address if "/" in setting else with_mask(address.ip, interfaces)
    if setting == "" and (stored or family == 6):
        raise LookupError
    method = source.method
    kernel_choice = towards(method.destination, family) if isinstance(method, CanReach) else None
    return choose_address(method, interfaces, family, kernel_choice)


def _addresses(
    registration: Registration, existing: Mapping[str, Any] | None, interfaces: list[HostInterface]
) -> tuple[dict[Family, HostAddress | None], list[str]]:
    addresses: dict[Family, HostAddress | None] = {}
    faults = []
    for family in FAMILIES:
        stored = node.address_of(existing, family)
        try:
            addresses[family] = detect(registration.sources[family], family, stored, interfaces)
        except DetectionError as error:
            # What is registered stays: an interface that is down for a while is no reason to end
            # all sessions for longer than that.
            faults.append(str(error))
        except LookupError:
            continue
    return addresses, faults


def _drop_conflicts(
    client: EtcdClient, name: str, addresses: dict[Family, HostAddress | None]
) -> list[str]:
    """Take out each address that another Node has, so that ours is cleared; say so."""
    faults = []
    nodes = _all_nodes(client)
    for family, address in addresses.items():
        other = node.conflicting_node(address, name, nodes) if address else None
        if other is not None:
            addresses[family] = None
            faults.append(f"address {address} is already that of Node {other}")
    return faults


def _all_nodes(client: EtcdClient) -> list[tuple[str, Mapping[str, Any]]]:
    nodes: list[tuple[str, Mapping[str, Any]]] = []
    for stored in client.get_prefix(prefix_of("Node")).kvs:
        key = parse_key(stored.key)
        try:
            value = _object(stored.value, stored.key)
        except RegistrationError:
            continue
        if isinstance(key, ResourceKey):
            nodes.append((key.name, value))
    return nodes


def _object(value: bytes, key: str) -> dict[str, Any]:
    try:
        decoded = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise RegistrationError(f"{key}: not readable, so not changed: {error}") from error
    if not isinstance(decoded, dict):
        raise RegistrationError(f"{key}: not readable, so not changed: no JSON object")
    return decoded


def _identity() -> node.Identity:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return node.Identity(uid=str(uuid.uuid4()), creation_timestamp=now)


def _summary(stored: Mapping[str, Any]) -> str:
    addresses = [node.address_of(stored, family) for family in FAMILIES]
    return ", ".join(filter(None, addresses)) or "no address"
