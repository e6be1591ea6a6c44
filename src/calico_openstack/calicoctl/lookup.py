"""Endpoints by whatever people call them, found among all that are stored."""

from __future__ import annotations

from calico_openstack.calicoctl.endpoint_scan import StoredEndpoints
from calico_openstack.calicoctl.ends import ambiguous, names_of
from calico_openstack.datamodel import ResourceKey, WorkloadEndpoint
from calico_openstack.etcd import EtcdClient


class AmbiguousNameError(ValueError):
    """A name that several endpoints have; the text lists them with their ids."""


def endpoints_with(
    client: EtcdClient, text: str, namespace: str = ""
) -> dict[ResourceKey, WorkloadEndpoint]:
    """Return the endpoints that have *text* somewhere; raises `EtcdError`."""
    stored = StoredEndpoints(client, {text}, namespace).holding({text})
    return {key: value for key, value in stored.items() if isinstance(value, WorkloadEndpoint)}


def endpoint_called(client: EtcdClient, name: str, namespace: str = "") -> ResourceKey | None:
    """Return the endpoint with a name or id, in all namespaces if none is given.

    Raises `AmbiguousNameError`, `EtcdError`.
    """
    stored = endpoints_with(client, name, namespace)
    found = {key: value for key, value in stored.items() if name in names_of(key, value)}
    if len(found) > 1:
        raise AmbiguousNameError(ambiguous(name, list(found.values())))
    return next(iter(found), None)
