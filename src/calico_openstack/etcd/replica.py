"""What is known of the keys below one prefix, and what changes when more is learnt. Pure.

A `Replica` remembers each key's revision but not its value: enough to tell the differences between
what was delivered before and a new listing, including the keys that vanished.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Update(msgspec.Struct, frozen=True, gc=False):
    """A key's new value; None when it was deleted."""

    key: str
    value: bytes | None
    mod_revision: int


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
