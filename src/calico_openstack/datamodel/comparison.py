"""What Neutron's driver leaves in etcd about itself, for operators to read.

The driver compares all of etcd with Neutron's database now and then, and repairs what differs.
"""

from __future__ import annotations

from typing import Final

import msgspec

from calico_openstack.datamodel.invalid import UNREADABLE

DRIVER_PREFIX: Final = "/calico/neutron/v1/"
"""The driver's own keys, below which each region has a folder."""

_LAST: Final = "/last-comparison"
_EXAMPLES: Final = 10


class LastComparison(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How the last comparison ended.

    *time* is in seconds since 1970, *server* the host that compared, *interval* the seconds until
    it does so again, 0 for never. *differing* keys were not as in the database and were repaired,
    *contested* ones others kept writing; *keys* are examples. With *error* it came to no end.
    *reason* is why much was to be expected to differ, as after an upgrade.
    """

    time: float
    server: str = ""
    version: str = ""
    interval: float = 0.0
    differing: int = 0
    contested: int = 0
    keys: tuple[str, ...] = ()
    error: str = ""
    reason: str = ""

    @property
    def is_clean(self) -> bool:
        """Whether nothing differed."""
        return not (self.differing or self.contested or self.error)

    def encode(self) -> bytes:
        """Return the stored value."""
        return msgspec.json.encode(msgspec.structs.replace(self, keys=self.keys[:_EXAMPLES]))


def last_comparison_path(region: str) -> str:
    """Return the key of the `LastComparison` of a region."""
    return f"{DRIVER_PREFIX}{region}{_LAST}"


def region_of(key: str) -> str:
    """Return the region whose `LastComparison` is under *key*, "" if it is no such key."""
    if not (key.startswith(DRIVER_PREFIX) and key.endswith(_LAST)):
        return ""
    return key.removeprefix(DRIVER_PREFIX).removesuffix(_LAST)


def decode_last_comparison(value: bytes) -> LastComparison | None:
    """Return a stored value, None if it is none."""
    try:
        return msgspec.json.decode(value, type=LastComparison)
    except UNREADABLE:
        return None
