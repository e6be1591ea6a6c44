"""Policies that are not read until they can apply to somebody here.

A host knows every policy of the cluster and enforces few of them. Reading and checking the others,
and keeping what was read, would be most of the work of starting and much of the memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec

from calico_openstack.datamodel.invalid import UNREADABLE, Invalid
from calico_openstack.datamodel.resource import JsonObject, Resource
from calico_openstack.datamodel.selector.parser import MAX_LABEL_LENGTH

# The selectors that security groups have; in others it takes more to find a label.
_HAS_LABEL: Final = re.compile(rf"has\(([A-Za-z0-9_./-]{{1,{MAX_LABEL_LENGTH}}})\)")


class DeferredPolicy(msgspec.Struct, frozen=True, gc=False):
    """A policy of a namespace that is for endpoints with a certain *label* only.

    *whole* reads it, which may show that it is invalid; that it is for those only holds in any
    case.
    """

    label: str
    whole: Callable[[], Resource | Invalid | None]


class _Spec(JsonObject, frozen=True, kw_only=True):
    selector: str = ""
    performance_hints: tuple[str, ...] = ()


class _Outline(JsonObject, frozen=True, kw_only=True):
    spec: _Spec = _Spec()


_OUTLINE: Final = msgspec.json.Decoder(_Outline)


def deferred(value: bytes, whole: Callable[[], Resource | Invalid | None]) -> DeferredPolicy | None:
    """Return a stored policy of a namespace, deferred; None if it must be read at once.

    That is so where whom it is for cannot be told by a look at its selector, and where it has
    hints, which may ask for that.
    """
    try:
        spec = _OUTLINE.decode(value).spec
    except UNREADABLE:
        return None
    found = _HAS_LABEL.fullmatch(spec.selector)
    if found is None or spec.performance_hints:
        return None
    return DeferredPolicy(found[1], whole)
