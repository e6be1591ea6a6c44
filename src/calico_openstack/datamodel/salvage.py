"""What can still be read of an object whose members have wrong types.

A policy of this kind cannot be applied, but the endpoints that it selects must not be treated as if
it did not exist: it may have denied something. What it selects and in which order it stands is
enough to deny in its place. Nor must a host be open because its endpoint cannot be read: which
interfaces it is for is enough to close them.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from calico_openstack.datamodel.endpoints import HostEndpoint
from calico_openstack.datamodel.policies import GlobalNetworkPolicy, NetworkPolicy
from calico_openstack.datamodel.resource import Resource

_KEPT: Final = (
    "tier",
    "order",
    "types",
    "serviceAccountSelector",
    "namespaceSelector",
)


def salvaged_policy(kind: str, value: bytes) -> Resource | None:
    """Return a policy without rules from bytes that could not be decoded as a whole.

    None if they are no JSON object, or if they do not say what the policy selects: what was
    written by mistake then costs nobody else. Raises what decoding raises.
    """
    types: dict[str, type[NetworkPolicy | GlobalNetworkPolicy]] = {
        NetworkPolicy.KIND: NetworkPolicy,
        GlobalNetworkPolicy.KIND: GlobalNetworkPolicy,
    }
    if kind not in types:
        return None
    members = msgspec.json.decode(value)
    spec = members.get("spec") if isinstance(members, dict) else None
    selector = spec.get("selector") if isinstance(spec, dict) else None
    if not isinstance(spec, dict) or not isinstance(selector, str) or not selector:
        return None
    kept: dict[str, Any] = {"selector": selector}
    for name in _KEPT:
        if name in spec and _converts({"spec": {name: spec[name]}}, types[kind]):
            kept[name] = spec[name]
    return msgspec.convert({"spec": kept}, types[kind])


def salvaged_host_endpoint(value: bytes) -> HostEndpoint | None:
    """Return whose and for which interfaces a host endpoint is that could not be decoded.

    None if that cannot be told. Raises what decoding raises.
    """
    members = msgspec.json.decode(value)
    spec = members.get("spec") if isinstance(members, dict) else None
    if not isinstance(spec, dict):
        return None
    kept = {
        name: spec[name]
        for name in ("node", "interfaceName", "expectedIPs")
        if name in spec and _converts({"spec": {name: spec[name]}}, HostEndpoint)
    }
    if not kept.get("node") or not (kept.get("interfaceName") or kept.get("expectedIPs")):
        return None
    return msgspec.convert({"spec": kept}, HostEndpoint)


def _converts(members: dict[str, Any], kind: type[Resource]) -> bool:
    try:
        msgspec.convert(members, kind)
    except msgspec.ValidationError:
        return False
    return True
