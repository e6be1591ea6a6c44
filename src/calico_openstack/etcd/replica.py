"""What is known of the keys below one prefix, and what changes when more is learnt. Pure.

A `Replica` remembers each key's revision but not its value: enough to tell the differences between
what was delivered before and a new listing, including the keys that vanished.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import msgspec


class Update(msgspec.Struct, frozen=True, gc=False):
    """A key's new value; None when it was deleted."""

    key: str
    value: bytes | None
    mod_revision: int


class ListedPage(msgspec.Struct, frozen=True, gc=False):
    """A page that somebody else has listed: *prepared* is for whoever knows what that is.

    *revisions* are those of the keys that are in it; *others* are keys, values and revisions.
    """

    prepared: Sequence[Any]
    revisions: Sequence[tuple[str, int]]
    others: Sequence[tuple[str, bytes, int]]
    is_last: bool


class Ahead(Protocol):
    """A listing of all keys below *prefix* that somebody else has begun."""

    @property
    def prefix(self) -> str:
        """What all keys begin with."""

    def begin(self, cluster: int) -> int:
        """Return the revision at which all is listed; 0 if it is not, or not in this cluster."""

    def pages(self) -> Iterator[ListedPage]:
        """Yield what was listed; without a last page it is not everything."""

    def close(self) -> None:
        """End the listing."""


class Replica:
    """The revisions of the keys below *prefix*, as delivered so far."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self._revisions: dict[str, int] = {}
        self._unseen: set[str] = set()

    def __len__(self) -> int:
        return len(self._revisions)

    def listing(self) -> list[str]:
        """Return all keys; may be asked by any thread."""
        return list(self._revisions)

    def distrust(self) -> None:
        """Take revisions as meaningless, as after a restored backup: the next listing is news.

        The keys stay known, so that deletions are still found.
        """
        self._revisions = dict.fromkeys(self._revisions, 0)

    def begin_listing(self) -> None:
        """Prepare for a complete listing; one that broke off is forgotten."""
        self._unseen = set(self._revisions)

    def listed(self, page: Iterable[tuple[str, bytes, int]]) -> list[Update]:
        """Take one page of the listing (key, value, revision); return what is new in it."""
        revisions, unseen = self._revisions, self._unseen
        updates = []
        for key, value, revision in page:
            if unseen:
                unseen.discard(key)
            if revisions.get(key) != revision:
                revisions[key] = revision
                updates.append(Update(key, value, revision))
        return updates

    def learnt(self, page: ListedPage) -> list[Update]:
        """Take one page of a listing that others made; return what is new of the others."""
        self._revisions.update(page.revisions)
        self._unseen.difference_update(key for key, _ in page.revisions)
        return self.listed(page.others)

    def end_listing(self, revision: int) -> list[Update]:
        """Finish the listing, made at *revision*; return the deletions that it shows."""
        unseen, self._unseen = self._unseen, set()
        for key in unseen:
            del self._revisions[key]
        return [Update(key, None, revision) for key in sorted(unseen)]

    def changed(self, key: str, value: bytes | None, mod_revision: int) -> Update | None:
        """Take one watch event; return what it changes, None for one that was known already."""
        known = self._revisions.get(key)
        if value is None:
            if known is None or known > mod_revision:
                return None
            del self._revisions[key]
        else:
            if known is not None and known >= mod_revision:
                return None
            self._revisions[key] = mod_revision
        return Update(key, value, mod_revision)
