"""Reading and writing resources with the semantics of upstream's client.

Create demands that the key does not exist, update that it is the revision that was read; metadata
other than labels and annotations belongs to the datastore (specification section 1.2).
"""

from __future__ import annotations

import functools
import re
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from calico_openstack.calicoctl.admission import (
    BUILT_IN_TIERS,
    refusal_to_delete,
    refusal_to_write,
)
from calico_openstack.calicoctl.preserving import with_unknown_members
from calico_openstack.datamodel import (
    ClusterInformation,
    ClusterInformationSpec,
    Invalid,
    Metadata,
    Resource,
    ResourceKey,
    Tier,
    TierSpec,
    WorkloadEndpoint,
    as_written,
    decode,
    encode,
    parse_key,
    prefix_of,
)
from calico_openstack.datamodel.invalid import as_far_as_read
from calico_openstack.etcd import EtcdClient
from calico_openstack.etcd.records import KeyValue

if TYPE_CHECKING:
    from calico_openstack.datamodel.remote import RemoteEndpoints

_UPDATE_TRIES: Final = 5
_NAME_LENGTH: Final = 253
_DNS_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_UPDATE_PAUSE: Final = 1.0  # seconds


class StoreError(Exception):
    """The datastore's state does not allow the operation."""


class ExistsError(StoreError):
    """The resource exists already."""


class MissingError(StoreError):
    """The resource does not exist."""


class ConflictError(StoreError):
    """The resource is not, or no longer, the one that was read."""


def identity(resource: Resource) -> str:
    """Return ``Kind(namespace/name)``, as all messages name a resource."""
    metadata = resource.metadata
    name = f"{metadata.namespace}/{metadata.name}" if metadata.namespace else metadata.name
    return f"{resource.KIND}({name})"


class Store:
    """Resources in etcd. *report* takes a line about an object that cannot be read."""

    def __init__(self, client: EtcdClient, report: Callable[[str], None]) -> None:
        self._client = client
        self._report = report
        self._initialised = False

    def listed(self, cls: type[Resource], namespace: str = "") -> Iterator[Resource]:
        """Yield all resources of a kind, page by page; invalid ones are reported instead."""
        # What is checked in one go (no host has an empty name) needs no second look.
        reader = _reader() if cls is WorkloadEndpoint else None
        for page in self.pages(cls, namespace):
            for kv in page:
                if reader is not None and reader.read(kv.key, kv.value) is not None:
                    yield _versioned(_endpoint_decoder().decode(kv.value), kv.mod_revision)
                elif (resource := self.decoded(kv)) is not None:
                    yield resource

    def pages(self, cls: type[Resource], namespace: str = "") -> Iterator[list[KeyValue]]:
        """Yield all resources of a kind as they are stored."""
        for page in self._client.iterate_prefix(prefix_of(cls.KIND, namespace)):
            yield page.kvs

    def keys(self, cls: type[Resource]) -> Iterator[ResourceKey]:
        """Yield the keys of all resources of a kind, without reading them."""
        for page in self._client.iterate_prefix(prefix_of(cls.KIND), keys_only=True):
            for kv in page.kvs:
                key = parse_key(kv.key)
                if isinstance(key, ResourceKey):
                    yield key

    def read(self, key: ResourceKey) -> Resource:
        """Return one resource; raises `StoreError` when it is absent or invalid."""
        kv = self._client.get(key.path)
        if kv is None:
            raise MissingError(f"resource does not exist: {_of_key(key)}")
        value = decode(kv.key, kv.value)
        if isinstance(value, Invalid):
            raise StoreError(f"resource is stored but invalid: {value}")
        if not isinstance(value, Resource):
            raise MissingError(f"resource does not exist: {_of_key(key)}")
        return _versioned(value, kv.mod_revision)

    def create(self, resource: Resource) -> None:
        """Store a new resource; raises `StoreError` when it exists already."""
        if resource.metadata.resource_version:
            raise StoreError(
                f"{identity(resource)}: metadata.resourceVersion must not be set on create"
            )
        _check_new_name(resource)
        self._admit(resource, None)
        metadata = Metadata(
            name=resource.metadata.name,
            namespace=resource.metadata.namespace,
            labels=resource.metadata.labels,
            annotations=resource.metadata.annotations,
            uid=str(uuid.uuid4()),
            creation_timestamp=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        stored = as_written(msgspec.structs.replace(resource, metadata=metadata))
        if self._client.put_if_unchanged(_key_of(resource).path, encode(stored), 0) is None:
            raise ExistsError(f"resource already exists: {identity(resource)}")

    def replace(self, resource: Resource, version: str = "") -> None:
        """Update an existing resource; raises `StoreError` when absent or changed meanwhile.

        *version* is that on which the new value rests; else the resource may state it.
        """
        key = _key_of(resource)
        for attempt in range(_UPDATE_TRIES):
            if attempt:
                time.sleep(_UPDATE_PAUSE)
            kv = self._client.get(key.path)
            if kv is None:
                raise MissingError(f"resource does not exist: {identity(resource)}")
            wanted = version or resource.metadata.resource_version
            if wanted and wanted != str(kv.mod_revision):
                raise ConflictError(f"update conflict: {identity(resource)}")
            stored = decode(kv.key, kv.value)
            self._admit(resource, as_far_as_read(stored))
            merged = as_written(_with_stored_metadata(resource, stored))
            value = with_unknown_members(encode(merged), kv.value, type(resource))
            if self._client.put_if_unchanged(key.path, value, kv.mod_revision):
                return
        raise ConflictError(f"update conflict: {identity(resource)}")

    def apply(self, resource: Resource) -> None:
        """Create a resource, or update it when it exists."""
        if self._client.get(_key_of(resource).path) is not None:
            self.replace(resource)
            return
        self.create(resource)

    def delete(self, key: ResourceKey, resource_version: str = "") -> None:
        """Remove a resource, if given only at that revision; raises `StoreError`."""
        kv = self._client.get(key.path)
        if kv is None:
            raise MissingError(f"resource does not exist: {_of_key(key)}")
        if resource_version and resource_version != str(kv.mod_revision):
            raise ConflictError(f"update conflict: {_of_key(key)}")
        if reason := refusal_to_delete(self._client, key):
            raise StoreError(f"operation delete is not supported on {_of_key(key)}: {reason}")
        if not self._client.delete_if_unchanged(key.path, kv.mod_revision):
            raise ConflictError(f"update conflict: {_of_key(key)}")

    def _admit(self, resource: Resource, before: Resource | None) -> None:
        if reason := refusal_to_write(self._client, resource, before):
            raise StoreError(f"{identity(resource)}: {reason}")

    def initialise(self) -> None:
        """Create what an empty datastore needs: cluster information and the built-in tiers."""
        if self._initialised:
            return
        self._initialised = True
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        wanted: list[Resource] = [
            ClusterInformation(
                metadata=Metadata(name="default"),
                spec=ClusterInformationSpec(cluster_guid=uuid.uuid4().hex, datastore_ready=True),
            )
        ]
        for name, (order, action) in BUILT_IN_TIERS.items():
            spec = TierSpec(order=order, default_action=action)
            wanted.append(Tier(metadata=Metadata(name=name), spec=spec))
        for resource in wanted:
            metadata = msgspec.structs.replace(
                resource.metadata, uid=str(uuid.uuid4()), creation_timestamp=now
            )
            stored = msgspec.structs.replace(resource, metadata=metadata)
            self._client.put_if_unchanged(_key_of(resource).path, encode(stored), 0)

    def decoded(self, kv: KeyValue) -> Resource | None:
        """Return a stored resource with its version; an invalid one is reported, and None."""
        value = decode(kv.key, kv.value)
        if isinstance(value, Invalid):
            self._report(f"invalid: {value}")
            return None
        return _versioned(value, kv.mod_revision) if isinstance(value, Resource) else None


def _reader() -> RemoteEndpoints:
    from calico_openstack.datamodel.remote import RemoteEndpoints  # noqa: PLC0415 - for lists only

    return RemoteEndpoints("")


@functools.cache
def _endpoint_decoder() -> msgspec.json.Decoder[WorkloadEndpoint]:
    return msgspec.json.Decoder(WorkloadEndpoint)


def _check_new_name(resource: Resource) -> None:
    """Refuse names that upstream's API refuses (RFC 1123); existing objects may have others."""
    name = resource.metadata.name
    labels = name.split(".")
    # Workload endpoints are named by their parts, which the data model has checked.
    if isinstance(resource, WorkloadEndpoint):
        return
    if len(name) > _NAME_LENGTH or not all(_DNS_LABEL.fullmatch(label) for label in labels):
        raise StoreError(
            f"{identity(resource)}: error with field Name = '{name}' (lower-case letters, digits, "
            "'-' and '.', beginning and ending with a letter or digit, 253 at most)"
        )
    if isinstance(resource, Tier) and len(labels) > 1:
        raise StoreError(
            f"{identity(resource)}: error with field Name = '{name}' (a tier's name has no '.')"
        )


def _key_of(resource: Resource) -> ResourceKey:
    return ResourceKey(resource.KIND, resource.metadata.name, resource.metadata.namespace)


def _of_key(key: ResourceKey) -> str:
    return f"{key.kind}({f'{key.namespace}/{key.name}' if key.namespace else key.name})"


def _versioned(resource: Resource, mod_revision: int) -> Resource:
    metadata = msgspec.structs.replace(resource.metadata, resource_version=str(mod_revision))
    return msgspec.structs.replace(resource, metadata=metadata)


def _with_stored_metadata(resource: Resource, stored: object) -> Resource:
    """Return the new resource under the stored one's metadata, with new labels and annotations.

    A stored value that is invalid may have lost its metadata; then it is made anew. A status is of
    whoever is asked by the resource: one that is not given stays.
    """
    kept = as_far_as_read(stored)
    base = kept.metadata if kept is not None else Metadata()
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata = msgspec.structs.replace(
        base,
        name=resource.metadata.name,
        namespace=resource.metadata.namespace,
        uid=base.uid or str(uuid.uuid4()),
        creation_timestamp=base.creation_timestamp or now,
        labels=resource.metadata.labels,
        annotations=resource.metadata.annotations,
        resource_version="",
    )
    reported = getattr(kept, "status", None)
    if reported and not getattr(resource, "status", None):
        resource = msgspec.structs.replace(resource, status=reported)
    return msgspec.structs.replace(resource, metadata=metadata)


def key_for(cls: type[Resource], name: str, namespace: str) -> ResourceKey:
    """Return the key of a resource that the operator named on the command line."""
    return ResourceKey(cls.KIND, name, namespace if cls.NAMESPACED else "")
