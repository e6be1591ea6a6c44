"""IP pools."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from calico_openstack.datamodel.resource import JsonObject, Resource


class IPPoolSpec(JsonObject, frozen=True, kw_only=True):
    """Body of a pool. ``cidr`` is always written. Zero values mean the documented defaults."""

    cidr: str
    vxlan_mode: str = msgspec.field(default="", name="vxlanMode")
    ipip_mode: str = msgspec.field(default="", name="ipipMode")
    nat_outgoing: bool = False
    disabled: bool = False
    disable_bgp_export: bool = msgspec.field(default=False, name="disableBGPExport")
    block_size: int = 0
    node_selector: str = ""
    namespace_selector: str = ""
    allowed_uses: tuple[str, ...] = ()
    assignment_mode: str | None = None


class IPPool(Resource, frozen=True, kw_only=True):
    """A range of addresses that Calico IPAM assigns from."""

    KIND: ClassVar[str] = "IPPool"
    PLURAL: ClassVar[str] = "ippools"

    kind: str = KIND
    spec: IPPoolSpec
    status: dict[str, Any] = msgspec.field(default_factory=dict)
