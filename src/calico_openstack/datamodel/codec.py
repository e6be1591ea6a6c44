"""From stored bytes to resources and back.

``decode`` never raises: what cannot be used comes back as ``Invalid`` with its reasons, what is
not for us as None. ``encode`` writes what ``decode`` gives back.
"""

from __future__ import annotations

import functools
from typing import Any, Final

import msgspec

from calico_openstack.datamodel.conventions import as_read, names_in_keys
from calico_openstack.datamodel.dhcp import DhcpSubnet
from calico_openstack.datamodel.endpoints import HostEndpoint
from calico_openstack.datamodel.invalid import UNREADABLE, Invalid, Reason, quoted
from calico_openstack.datamodel.keys import (
    DhcpStatusKey,
    DhcpSubnetKey,
    FelixStatusKey,
    Key,
    LastReportedStatusKey,
    ResourceKey,
    parse_key,
)
from calico_openstack.datamodel.kinds import RESOURCE_TYPES
from calico_openstack.datamodel.policies import DEFAULT_ALLOW_PROFILE_NAME, Profile
from calico_openstack.datamodel.resource import API_VERSION, Resource
from calico_openstack.datamodel.salvage import salvaged_host_endpoint, salvaged_policy
from calico_openstack.datamodel.status import AgentStatus, EndpointStatus
from calico_openstack.datamodel.validation import validate

Value = Resource | DhcpSubnet | AgentStatus | EndpointStatus
"""Everything that ``decode`` can give back besides ``Invalid``."""

_TYPES: Final[dict[str, type[Resource]]] = {cls.KIND: cls for cls in RESOURCE_TYPES}
_SUBNET: Final = msgspec.json.Decoder(DhcpSubnet)
_AGENT_STATUS: Final = msgspec.json.Decoder(AgentStatus)
_ENDPOINT_STATUS: Final = msgspec.json.Decoder(EndpointStatus)
_ENCODER: Final = msgspec.json.Encoder()


@functools.cache
def _decoder(kind: str) -> msgspec.json.Decoder[Any]:
    """Return what decodes a kind; made when needed, because most programs read few kinds."""
    return msgspec.json.Decoder(_TYPES[kind])


def decode(path: str, value: bytes) -> Value | Invalid | None:
    """Return what is stored under ``path``, None for keys and kinds that are not for us."""
    key = parse_key(path)
    if key is None:
        return None
    return decode_at(path, key, value)


def decode_at(path: str, key: Key, value: bytes) -> Value | Invalid | None:
    """Do what ``decode`` does, for a caller that has parsed the key already."""
    if not isinstance(key, ResourceKey):
        return _decode_plain(path, key, value)
    # The default-allow profile is built in; a stored copy is ignored.
    if key.kind not in _TYPES or (
        key.kind == Profile.KIND and key.name == DEFAULT_ALLOW_PROFILE_NAME
    ):
        return None
    try:
        resource = _decode_resource(_decoder(key.kind), value)
    except UNREADABLE as error:
        return Invalid(path, key, (_reason_of(error),), _salvaged(key, value))
    resource, reasons = _fitted(key, resource)
    reasons += validate(resource)
    resource = as_read(resource)
    return Invalid(path, key, reasons, resource) if reasons else resource


def encode(value: Value) -> bytes:
    """Return the bytes to store for a value. Version and self link of a resource are left out."""
    if not isinstance(value, Resource):
        return value.encode()
    metadata = value.metadata
    if metadata.resource_version or metadata.self_link:
        metadata = msgspec.structs.replace(metadata, resource_version="", self_link="")
    members = [
        f'{{"kind":"{value.KIND}","apiVersion":"{API_VERSION}","metadata":'.encode(),
        _ENCODER.encode(metadata),
        b',"spec":',
        _ENCODER.encode(value.spec),  # type: ignore[attr-defined]
    ]
    if status := getattr(value, "status", None):
        members += [b',"status":', _ENCODER.encode(status)]
    members.append(b"}")
    return b"".join(members)


def _decode_plain(path: str, key: Key, value: bytes) -> Value | Invalid:
    """Decode the values that are not resources."""
    plain: DhcpSubnet | AgentStatus | EndpointStatus
    try:
        if isinstance(key, DhcpSubnetKey):
            plain = _SUBNET.decode(value)
        elif isinstance(key, FelixStatusKey | LastReportedStatusKey | DhcpStatusKey):
            plain = _AGENT_STATUS.decode(value)
        else:
            plain = _ENDPOINT_STATUS.decode(value)
    except UNREADABLE as error:
        return Invalid(path, key, (_reason_of(error),))
    reasons = validate(plain)
    return Invalid(path, key, reasons) if reasons else plain


def _decode_resource(decoder: msgspec.json.Decoder[Resource], value: bytes) -> Resource:
    """Decode a resource; where a member is null, as if it were absent.

    Upstream's readers take null for the zero value of anything.
    """
    try:
        return decoder.decode(value)
    except msgspec.ValidationError as error:
        try:
            members = _without_nulls(msgspec.json.decode(value))
        except msgspec.ValidationError:
            # A number that is too large for any type; the first error names the member.
            raise error from None
        resource: Resource = msgspec.convert(members, decoder.type)
        return resource


def _salvaged(key: ResourceKey, value: bytes) -> Resource | None:
    """Return what can be read of a resource that could not be decoded, None if nothing can."""
    try:
        resource = (
            salvaged_host_endpoint(value)
            if key.kind == HostEndpoint.KIND
            else salvaged_policy(key.kind, value)
        )
    except (*UNREADABLE, ValueError):
        return None
    return None if resource is None else as_read(_fitted(key, resource)[0])


def _without_nulls(value: Any) -> Any:
    """Return a JSON value without the members of objects that are null."""
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_nulls(v) for v in value]
    return value


def _fitted(key: ResourceKey, resource: Resource) -> tuple[Resource, tuple[Reason, ...]]:
    """Return a resource with the name that its key gives, and where the two disagree."""
    metadata = resource.metadata
    if (
        metadata.name == key.name
        and metadata.namespace == key.namespace
        and resource.kind == key.kind
        and resource.api_version == API_VERSION
        and not metadata.resource_version
        and not metadata.self_link
    ):
        return resource, ()
    names = names_in_keys(resource)
    reasons = tuple(
        Reason(field, f"is {quoted(found)}, but must be {quoted(wanted)}")
        for field, found, wanted in (
            ("kind", resource.kind, key.kind),
            ("apiVersion", resource.api_version, API_VERSION),
            ("metadata.name", metadata.name, metadata.name if key.name in names else key.name),
            ("metadata.namespace", metadata.namespace, key.namespace),
        )
        if found not in (wanted, "")
    )
    metadata = msgspec.structs.replace(
        metadata, name=key.name, namespace=key.namespace, resource_version="", self_link=""
    )
    fitting = msgspec.structs.replace(
        resource, kind=key.kind, api_version=API_VERSION, metadata=metadata
    )
    return fitting, reasons


def _reason_of(error: Exception) -> Reason:
    """Return why bytes could not be decoded, with the member if it is known."""
    if isinstance(error, RecursionError):
        return Reason("", "is nested too deeply")
    if isinstance(error, UnicodeError):
        return Reason("", "is not UTF-8")
    # msgspec says "Expected `str`, got `int` - at `$.spec.node`".
    text, _, where = str(error).replace("`", "").rpartition(" - at $")
    if not text:
        return Reason("", where)
    return Reason(where.removeprefix("."), text)
