"""What is stored and cannot be used, as data: it travels like a resource and denies like one."""

from __future__ import annotations

from typing import Final

import msgspec

from calico_openstack.datamodel.keys import Key, ResourceKey
from calico_openstack.datamodel.resource import Resource

UNREADABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""What msgspec raises for bytes it cannot take: malformed JSON or a wrong type, text that is not
UTF-8, nesting beyond the interpreter's limit."""

_MAX_TEXT: Final = 120
_MAX_REASONS: Final = 5


class Reason(msgspec.Struct, frozen=True, gc=False):
    """Why a resource cannot be used: the field in the notation of JSON, and what is wrong."""

    field: str
    reason: str

    def __str__(self) -> str:
        return f"{shortened(self.field)}: {self.reason}" if self.field else self.reason


class Invalid(msgspec.Struct, frozen=True, gc=False):
    """A value under ``path`` that cannot be used. Whatever depends on it stays closed.

    ``resource`` is what could be read of it, if its types were right: an invalid policy denies the
    endpoints that it selects.
    """

    path: str
    key: Key
    reasons: tuple[Reason, ...]
    resource: Resource | None = None

    @property
    def kind(self) -> str:
        """The kind of resource that should have been here."""
        return self.key.kind if isinstance(self.key, ResourceKey) else type(self.key).__name__

    @property
    def name(self) -> str:
        """The name in the key; empty if the key holds no resource."""
        return self.key.name if isinstance(self.key, ResourceKey) else ""

    def __str__(self) -> str:
        shown = "; ".join(map(str, self.reasons[:_MAX_REASONS]))
        more = len(self.reasons) - _MAX_REASONS
        return f"{shortened(self.path)}: {shown}" + (f"; and {more} more" if more > 0 else "")


def as_far_as_read(value: object) -> Resource | None:
    """Return a resource, of an invalid one what could be read; None for anything else."""
    found = value.resource if isinstance(value, Invalid) else value
    return found if isinstance(found, Resource) else None


def shortened(text: str) -> str:
    """Return text that is safe and short enough for a log line; its middle may be left out."""
    if len(text) > _MAX_TEXT:
        text = f"{text[: _MAX_TEXT - 30]}...({len(text)} characters)...{text[-10:]}"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def quoted(value: object) -> str:
    """Return a value as it is quoted in reasons: short, in single quotes if it is text."""
    return f"'{shortened(value)}'" if isinstance(value, str) else shortened(str(value))
