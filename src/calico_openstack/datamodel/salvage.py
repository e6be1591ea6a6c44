"""What can still be read of an object whose members have wrong types.

A policy of this kind cannot be applied, but the endpoints that it selects must not be treated as if
it did not exist: it may have denied something. What it selects and in which order it stands is
enough to deny in its place. Nor must a host be open because its endpoint cannot be read: which
interfaces it is for is enough to close them.
"""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

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
    "doNotTrack",
    "preDNAT",
)


def salvaged_policy(kind: str, value: bytes) -> Resource | None:
    """Return a policy without rules from bytes that could not be decoded as a whole.

    None if they are no JSON object, or if they do not say what the policy selects: what was
    written by mistake then costs nobody else. Raises ValueError for what is no JSON.
    """
    types: dict[str, type[NetworkPolicy | GlobalNetworkPolicy]] = {
        NetworkPolicy.KIND: NetworkPolicy,
        GlobalNetworkPolicy.KIND: GlobalNetworkPolicy,
    }
    if kind not in types:
        return None
    spec = _spec(value)
    selector = spec.get("selector") if spec else None
    if spec is None or not isinstance(selector, str) or not selector.strip():
        return None
    kept: dict[str, Any] = {"selector": selector}
    for name in _KEPT:
        if name in spec and _converts({"spec": {name: spec[name]}}, types[kind]):
            kept[name] = spec[name]
    # Whoever writes "true" for true must not thereby open what hosts forward.
    if spec.get("applyOnForward"):
        kept["applyOnForward"] = True
    return msgspec.convert({"spec": kept}, types[kind])


def salvaged_host_endpoint(value: bytes) -> HostEndpoint | None:
    """Return whose and for which interfaces a host endpoint is that could not be decoded.

    None if that cannot be told. Raises ValueError for what is no JSON.
    """
    spec = _spec(value)
    if spec is None:
        return None
    kept = {
        name: spec[name]
        for name in ("node", "interfaceName", "expectedIPs")
        if name in spec and _converts({"spec": {name: spec[name]}}, HostEndpoint)
    }
    if not kept.get("node") or not (kept.get("interfaceName") or kept.get("expectedIPs")):
        return None
    return msgspec.convert({"spec": kept}, HostEndpoint)


def _spec(value: bytes) -> dict[str, Any] | None:
    """Return the members of the specification, None if there is none."""
    # The standard library takes numbers of any size: one too many is no reason to lose the rest.
    members = json.loads(value, parse_constant=_refused)
    spec = members.get("spec") if isinstance(members, dict) else None
    # It takes escaped halves of characters, too, which no name in the kernel can have.
    json.dumps(spec, ensure_ascii=False).encode()
    return spec if isinstance(spec, dict) else None


def _refused(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _converts(members: dict[str, Any], kind: type[Resource]) -> bool:
    try:
        msgspec.convert(members, kind)
    except msgspec.ValidationError:
        return False
    return True
