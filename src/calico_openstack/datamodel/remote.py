"""Endpoints of other hosts, read for what they mean to this one.

A host needs of another host's endpoint only its addresses and what selectors can tell about it,
but needs it of every one in the cluster; and an endpoint that cannot be used must not get into
anybody's sets. So the form in which all known writers store endpoints is read and checked in one go
here; for everything else, and for what is wrong, there is ``codec``.
"""

from __future__ import annotations

import re
from sys import intern
from typing import Final, Literal

import msgspec

from calico_openstack.datamodel.addresses import is_host_network, parse_address
from calico_openstack.datamodel.endpoints import CANONICAL_MAC
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.validation.findings import Findings
from calico_openstack.datamodel.validation.plain import TIMESTAMP
from calico_openstack.datamodel.validation.syntax import (
    IDENTIFIER,
    INTERFACE,
    MAX_ANNOTATIONS_BYTES,
    check_labels,
    check_name,
)

LabelTexts = tuple[str, ...]
"""Labels as one tuple: all names, then all values in the same order."""

# Written where an object has no time of creation.
_SOME_TIME: Final = "1970-01-01T00:00:00Z"
# The four parts of an endpoint's name, its namespace, interface, MAC address and time, in lines.
_PART: Final = "[a-zA-Z0-9_.](?:[a-zA-Z0-9_.-]{0,126}[a-zA-Z0-9_.])?"
_FIELDS: Final = re.compile(
    rf"{_PART}\n{_PART}\n{_PART}\n{_PART}\n{IDENTIFIER.pattern}\n{INTERFACE.pattern}\n(?:{CANONICAL_MAC.pattern})?"
    rf"\n{TIMESTAMP.pattern}"
)
_MAX_NAME: Final = 1024
_MAX_KNOWN: Final = 65536


class RemoteEndpoint(msgspec.Struct, frozen=True, gc=False):
    """A valid endpoint of another host. It has addresses; it has no named ports.

    ``addresses`` are as stored, each a single address with or without its prefix length.
    """

    labels: LabelTexts
    profiles: tuple[str, ...]
    addresses: tuple[str, ...]


class _Metadata(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    name: str
    namespace: str
    labels: msgspec.Raw = msgspec.Raw(b"{}")
    creation_timestamp: str | None = None
    uid: str = ""
    annotations: dict[str, str] = {}


class _Spec(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    node: str
    orchestrator: str
    workload: str
    endpoint: str
    interface_name: str
    ip_networks: tuple[str, ...]
    mac: str = ""
    ipv4_gateway: str = msgspec.field(default="", name="ipv4Gateway")
    ipv6_gateway: str = msgspec.field(default="", name="ipv6Gateway")
    allowed_ips: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()


class _Endpoint(msgspec.Struct, rename="camel", forbid_unknown_fields=True, gc=False):
    """The usual form: these members and no others, so that none is overlooked."""

    metadata: _Metadata
    spec: _Spec
    kind: Literal["WorkloadEndpoint"] = "WorkloadEndpoint"
    api_version: Literal["projectcalico.org/v3"] = "projectcalico.org/v3"


_ENDPOINT: Final = msgspec.json.Decoder(_Endpoint)
_LABELS: Final = msgspec.json.Decoder(dict[str, str])
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)


class RemoteEndpoints:
    """Reads the endpoints of the hosts other than *host*.

    Most of them have labels that others have too: the texts of labels that were seen are kept, with
    the bytes that they came in, until `forget`.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._known: dict[bytes, LabelTexts] = {}

    def forget(self) -> None:
        """Release what was kept for the sake of speed."""
        self._known = {}

    def read(self, key: ResourceKey, value: bytes) -> RemoteEndpoint | None:
        """Return an endpoint; None if it is one of this host, unusual, or wrong.

        What is returned is valid, as `codec.decode` judges it.
        """
        # Annotations cannot be larger than the whole.
        if len(value) > MAX_ANNOTATIONS_BYTES:
            return None
        try:
            endpoint = _ENDPOINT.decode(value)
        except _UNREADABLE:
            return None
        metadata, spec = endpoint.metadata, endpoint.spec
        if spec.node == self._host or not spec.ip_networks:
            return None
        if metadata.name != key.name or metadata.namespace != key.namespace:
            return None
        labels = self._labels(bytes(metadata.labels))
        if labels is None or not (_has_valid_fields(metadata, spec) and _has_valid_lists(spec)):
            return None
        return RemoteEndpoint(labels, spec.profiles, spec.ip_networks)

    def _labels(self, raw: bytes) -> LabelTexts | None:
        """Return the texts of valid labels, None for others."""
        texts = self._known.get(raw)
        if texts is not None:
            return texts
        try:
            labels = _LABELS.decode(raw)
        except _UNREADABLE:
            return None
        findings = Findings()
        check_labels(findings, "", labels)
        if findings.reasons:
            return None
        if len(self._known) >= _MAX_KNOWN:
            self.forget()
        texts = self._known[raw] = tuple(map(intern, (*labels, *labels.values())))
        return texts


def _has_valid_fields(metadata: _Metadata, spec: _Spec) -> bool:
    """Tell whether the name is made of the specification's parts, and all fields are well-formed.

    Parts that do not begin or end with a dash make a name that can be taken apart in one way only.
    """
    parts = (spec.node, spec.orchestrator, spec.workload, spec.endpoint)
    if "-".join([part.replace("-", "--") for part in parts]) != metadata.name:
        return False
    created = metadata.creation_timestamp
    lines = (
        *parts,
        metadata.namespace,
        spec.interface_name,
        spec.mac,
        _SOME_TIME if created is None else created,
    )
    return _FIELDS.fullmatch("\n".join(lines)) is not None and len(metadata.name) <= _MAX_NAME


def _has_valid_lists(spec: _Spec) -> bool:
    """Tell whether addresses, gateways and profiles are what they must be."""
    for text in spec.ip_networks:
        if not is_host_network(text):
            return False
    return (
        (not spec.ipv4_gateway or _is_address(spec.ipv4_gateway, 4))
        and (not spec.ipv6_gateway or _is_address(spec.ipv6_gateway, 6))
        and (not spec.allowed_ips or all(map(is_host_network, spec.allowed_ips)))
        and (not spec.profiles or _are_names(spec.profiles))
    )


def _is_address(text: str, version: int) -> bool:
    address = parse_address(text)
    return address is not None and address.version == version


def _are_names(texts: tuple[str, ...]) -> bool:
    findings = Findings()
    for text in texts:
        check_name(findings, "", text)
    return not findings.reasons
