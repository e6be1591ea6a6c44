"""The envelope that every v3 resource shares.

A resource is a frozen struct with ``metadata`` and ``spec``. Its JSON member names are those of
the datastore (camelCase); its Python attributes are the same words in snake_case. Members with
their zero value are left out when written, unless a field says otherwise.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

API_VERSION = "projectcalico.org/v3"


class JsonObject(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False
):
    """Base of all stored structures. Unknown JSON members are ignored when read."""


class Metadata(JsonObject, frozen=True, kw_only=True):
    """Object metadata in the style of Kubernetes.

    ``resource_version`` and ``self_link`` are never stored: readers learn the version from etcd's
    modification revision. ``creation_timestamp`` is RFC 3339 text in UTC with whole seconds, or
    None. The last four members are passed through untouched.
    """

    name: str = ""
    namespace: str = ""
    creation_timestamp: str | None = None
    uid: str = ""
    annotations: dict[str, str] = msgspec.field(default_factory=dict)
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    resource_version: str = ""
    self_link: str = ""
    generation: int = 0
    owner_references: tuple[Any, ...] = ()
    finalizers: tuple[str, ...] = ()
    managed_fields: tuple[Any, ...] = ()


class Resource(JsonObject, frozen=True, kw_only=True):
    """A v3 resource. Subclasses add ``spec`` and say which kind they are.

    ``kind`` and ``api_version`` hold what was read, so that the codec can compare them with what
    the key says; they are always written as the class says.
    """

    KIND: ClassVar[str] = ""
    PLURAL: ClassVar[str] = ""
    NAMESPACED: ClassVar[bool] = False

    kind: str = ""
    api_version: str = API_VERSION
    metadata: Metadata = Metadata()


def written_even_if_empty() -> tuple[Any, ...]:
    """Give the default of a list member that is written even when it is empty."""
    return ()
