"""Policies of which only is read whom they apply to, until they apply to somebody here.

A host knows every policy of the cluster and enforces few of them. Reading and checking the rules of
all the others would be most of the work of starting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from calico_openstack.datamodel.invalid import Invalid
from calico_openstack.datamodel.policies import NetworkPolicy, NetworkPolicySpec
from calico_openstack.datamodel.resource import JsonObject, Resource

_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)


class DeferredPolicy(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A policy of a namespace by its *outline*: all of its specification but the rules.

    *whole* reads it completely, which may show that it is invalid; its selector, tier, order and
    types are those of the outline in any case. Two are equal if they were stored with equal bytes.
    """

    outline: NetworkPolicy
    content: bytes
    whole: Callable[[], Resource | Invalid | None]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DeferredPolicy):
            return NotImplemented
        return self.content == other.content

    def __hash__(self) -> int:
        return hash(self.content)


class _Spec(JsonObject, frozen=True, kw_only=True):
    """The members of a policy's specification that tell whom it applies to, and when."""

    tier: str = ""
    order: float | None = None
    selector: str = ""
    types: tuple[str, ...] = ()
    service_account_selector: str = ""
    performance_hints: tuple[str, ...] = ()


class _Outline(JsonObject, frozen=True, kw_only=True):
    spec: _Spec = _Spec()


_OUTLINE: Final = msgspec.json.Decoder(_Outline)


def deferred(value: bytes, whole: Callable[[], Resource | Invalid | None]) -> DeferredPolicy | None:
    """Return a stored policy of a namespace, deferred; None if it must be read at once.

    That is so where its outline cannot be read; where it has hints, which may ask for that; and
    where it does not say what it selects: if the rest is wrong too, it then applies to nobody
    instead of to everybody.
    """
    try:
        spec = _OUTLINE.decode(value).spec
    except _UNREADABLE:
        return None
    if not spec.selector or spec.performance_hints:
        return None
    outline = NetworkPolicySpec(
        tier=spec.tier,
        order=spec.order,
        selector=spec.selector,
        types=spec.types,
        service_account_selector=spec.service_account_selector,
    )
    return DeferredPolicy(NetworkPolicy(spec=outline), value, whole)
