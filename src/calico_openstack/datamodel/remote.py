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

from calico_openstack.datamodel.addresses import is_host_network, packed_host, parse_address
from calico_openstack.datamodel.endpoints import CANONICAL_MAC, WorkloadEndpoint
from calico_openstack.datamodel.invalid import UNREADABLE
from calico_openstack.datamodel.keys import prefix_of
from calico_openstack.datamodel.validation.findings import Findings
from calico_openstack.datamodel.validation.plain import TIMESTAMP
from calico_openstack.datamodel.validation.syntax import (
    IDENTIFIER,
    INTERFACE,
    MAX_ANNOTATIONS_BYTES,
    check_labels,
    check_name,
    is_annotation_name,
)

LabelTexts = tuple[str, ...]
"""Labels as one tuple: all names, then all values in the same order."""

# Written where an object has no time of creation.
_SOME_TIME: Final = "1970-01-01T00:00:00Z"
# No dash at either end; possessive, because there is no other way to read it.
_PART: Final = "[a-zA-Z0-9_.][a-zA-Z0-9_.-]{0,127}+(?<!-)"
_HOST: Final = re.compile(rf"{_PART}\n{_PART}\n{IDENTIFIER.pattern}")
_FIELDS: Final = re.compile(
    rf"{_PART}\n{_PART}\n{INTERFACE.pattern}+\n(?:{CANONICAL_MAC.pattern})?+\n{TIMESTAMP.pattern}"
)
_PREFIX: Final = prefix_of(WorkloadEndpoint.KIND)
_MAX_NAME: Final = 1024
_MAX_KNOWN: Final = 65536


class RemoteEndpoint(msgspec.Struct, frozen=True, gc=False):
    """A valid endpoint of another host. It has addresses, packed; it has no named ports.

    ``path`` is the text of its key.
    """

    path: str
    labels: LabelTexts
    profiles: tuple[str, ...]
    addresses: tuple[bytes, ...]


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


class RemoteEndpoints:
    """Reads the endpoints of the hosts other than *host*.

    Endpoints have much in common: labels with others of their groups, host and namespace with their
    neighbours in the listing, gateways with others of their network. What was seen and found right
    is kept until `forget`. A start reads every endpoint there is, so what is done for each of them
    is written for speed: few calls, no objects in between.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._known_labels: dict[bytes, LabelTexts] = {}
        self._valid_labels: set[tuple[str, str]] = set()
        self._starts: dict[tuple[str, str, str], str] = {}
        self._gateways: set[tuple[str, str]] = set()
        self._annotations: set[str] = set()

    def forget(self) -> None:
        """Release what was kept for the sake of speed."""
        self._known_labels = {}
        self._valid_labels = set()
        self._starts = {}
        self._gateways = set()
        self._annotations = set()

    def read(self, path: str, value: bytes) -> RemoteEndpoint | None:
        """Return an endpoint; None if it is one of this host, unusual, or wrong.

        *path* is the key of a workload endpoint. What is returned is valid, as `codec.decode`
        judges it.
        """
        # Annotations cannot be larger than the whole.
        if len(value) > MAX_ANNOTATIONS_BYTES:
            return None
        try:
            endpoint = _ENDPOINT.decode(value)
        except UNREADABLE:
            return None
        metadata, spec = endpoint.metadata, endpoint.spec
        networks, node, name = spec.ip_networks, spec.node, metadata.name
        if node == self._host or not networks:
            return None
        raw = bytes(metadata.labels)
        labels = self._known_labels.get(raw) or self._new_labels(raw)
        common = (metadata.namespace, node, spec.orchestrator)
        start = self._starts.get(common) or self._new_start(*common)
        workload, port, created = spec.workload, spec.endpoint, metadata.creation_timestamp
        gateways, profiles = (spec.ipv4_gateway, spec.ipv6_gateway), spec.profiles
        # The name is the key's and made of the specification. Parts that do not begin or end with
        # a dash make a name that can be taken apart in one way only.
        if (
            labels is None
            or path != f"{start}{workload.replace('-', '--')}-{port.replace('-', '--')}"
            or path != f"{_PREFIX}{metadata.namespace}/{name}"
            or len(name) > _MAX_NAME
            or not _FIELDS.fullmatch(
                f"{workload}\n{port}\n{spec.interface_name}\n{spec.mac}"
                f"\n{_SOME_TIME if created is None else created}"
            )
            or (gateways not in self._gateways and not self._are_gateways(gateways))
            or (spec.allowed_ips and not all(map(is_host_network, spec.allowed_ips)))
            or (profiles and not _are_names(profiles))
            or not (metadata.annotations.keys() <= self._annotations or self._are_noted(metadata))
        ):
            return None
        addresses = []
        for text in networks:
            packed = packed_host(text)
            if packed is None:
                return None
            addresses.append(packed)
        return RemoteEndpoint(path, labels, profiles, tuple(addresses))

    def _new_start(self, namespace: str, node: str, orchestrator: str) -> str:
        """Return how keys of a host's endpoints begin, in a way that none does if that is wrong."""
        if not _HOST.fullmatch(f"{node}\n{orchestrator}\n{namespace}"):
            return ""
        if len(self._starts) >= _MAX_KNOWN:
            self.forget()
        start = f"{_PREFIX}{namespace}/{node.replace('-', '--')}-{orchestrator.replace('-', '--')}-"
        self._starts[namespace, node, orchestrator] = start
        return start

    def _new_labels(self, raw: bytes) -> LabelTexts | None:
        """Return the texts of valid labels, None for others."""
        try:
            labels = _LABELS.decode(raw)
        except UNREADABLE:
            return None
        # New combinations are mostly made of labels that others have, too.
        valid = self._valid_labels
        if not labels.items() <= valid:
            findings = Findings()
            check_labels(findings, "", dict(labels.items() - valid))
            if findings.reasons:
                return None
            if len(valid) >= _MAX_KNOWN:
                valid.clear()
            valid.update(labels.items())
        if len(self._known_labels) >= _MAX_KNOWN:
            self.forget()
        texts = self._known_labels[raw] = tuple(map(intern, (*labels, *labels.values())))
        return texts

    def _are_noted(self, metadata: _Metadata) -> bool:
        """Tell whether all annotations have names that they can have."""
        if not all(map(is_annotation_name, metadata.annotations)):
            return False
        if len(self._annotations) >= _MAX_KNOWN:
            self.forget()
        self._annotations.update(metadata.annotations)
        return True

    def _are_gateways(self, gateways: tuple[str, str]) -> bool:
        """Tell whether the gateways of IPv4 and IPv6 are addresses or empty."""
        if not all(
            not text or _is_address(text, version)
            for text, version in zip(gateways, (4, 6), strict=True)
        ):
            return False
        if len(self._gateways) >= _MAX_KNOWN:
            self.forget()
        self._gateways.add(gateways)
        return True


def _is_address(text: str, version: int) -> bool:
    address = parse_address(text)
    return address is not None and address.version == version


def _are_names(texts: tuple[str, ...]) -> bool:
    findings = Findings()
    for text in texts:
        check_name(findings, "", text)
    return not findings.reasons
