"""From stored bytes to resources, with a memory of what could not be used."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial

from calico_openstack.agent.log import fields
from calico_openstack.datamodel.codec import decode_at
from calico_openstack.datamodel.deferred import DeferredPolicy, deferred
from calico_openstack.datamodel.endpoints import WorkloadEndpoint
from calico_openstack.datamodel.invalid import Invalid, shortened
from calico_openstack.datamodel.keys import ResourceKey, parse_key, prefix_of
from calico_openstack.datamodel.policies import NetworkPolicy
from calico_openstack.datamodel.remote import RemoteEndpoint, RemoteEndpoints
from calico_openstack.datamodel.resource import Resource
from calico_openstack.datamodel.validation import remarks
from calico_openstack.etcd import Update

_log = logging.getLogger(__name__)

_ENDPOINTS = prefix_of(WorkloadEndpoint.KIND)

Input = tuple[ResourceKey, Resource | Invalid | DeferredPolicy | None]


class Inputs:
    """Decodes updates; says once for every change of a key why it cannot be used.

    Endpoints of other hosts than *host* are read only as far as this one needs them, and policies
    when they come to be applied here; see `datamodel.remote` and `datamodel.deferred`.
    """

    def __init__(self, host: str = "") -> None:
        self._invalid: dict[str, str] = {}
        self._remote = RemoteEndpoints(host)

    @property
    def invalid(self) -> Mapping[str, str]:
        """Why each unusable key is unusable, by key."""
        return self._invalid

    def decode(self, update: Update) -> Input | RemoteEndpoint | None:
        """Return what an update tells; None for what is no resource of ours.

        That is an endpoint of another host, or else a resource's key and present value.
        """
        path, value = update.key, update.value
        if value is not None and path.startswith(_ENDPOINTS):
            endpoint = self._remote.read(path, value)
            if endpoint is not None:
                if self._invalid:
                    self._note(path, "")
                return endpoint
        key = parse_key(path)
        if not isinstance(key, ResourceKey):
            problem = "is no key of a known kind" if value is not None else ""
            self._note(path, problem)
            return None
        if value is None:
            self._note(path, "")
            return key, None
        if key.kind == NetworkPolicy.KIND:
            policy = deferred(value, partial(self._whole, path, key, value))
            if policy is not None:
                self._note(path, "")
                return key, policy
        resource = self._whole(path, key, value)
        return None if resource is None else (key, resource)

    def settle(self) -> None:
        """Release what was kept to read many objects at once."""
        self._remote.forget()

    def _whole(self, path: str, key: ResourceKey, value: bytes) -> Resource | Invalid | None:
        resource = decode_at(path, key, value)
        if isinstance(resource, Invalid):
            self._note(path, "; ".join(map(str, resource.reasons)))
            return resource
        self._note(path, "")
        if not isinstance(resource, Resource):
            return None
        for remark in remarks(resource):
            extra = fields(key=shortened(path), reason=str(remark))
            _log.warning("Ignoring a part of an object", extra=extra)
        return resource

    def _note(self, path: str, problem: str) -> None:
        known = self._invalid.get(path, "")
        if problem == known:
            return
        if problem:
            self._invalid[path] = problem
            extra = fields(key=shortened(path), reason=problem)
            _log.warning("Ignoring an unusable object, what it concerns stays closed", extra=extra)
        else:
            del self._invalid[path]
            _log.info("An unusable object is usable again or gone", extra=fields(key=path))
