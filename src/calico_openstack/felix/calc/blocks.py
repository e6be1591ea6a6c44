"""The rules in use on this host, and through them the sets in use."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct, field

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.felix.calc.groups import GroupIndex
from calico_openstack.policy.rules import RuleBlock

User = int | ResourceKey


class BlockChanges(Struct):
    """Blocks that changed with their rules before and after; None: not in use."""

    blocks: dict[ResourceKey, tuple[RuleBlock | None, RuleBlock | None]] = field(
        default_factory=dict
    )
    new_sets: set[str] = field(default_factory=set)
    gone_sets: set[str] = field(default_factory=set)


class ActiveBlocks:
    """Policies and profiles that are in use, and the sets that those use.

    Users are groups of local workload endpoints, by number, host endpoints, and policies that want
    to be ready in any case, by their keys. *rules* converts the present value of a policy or
    profile; it is asked only about those in use.
    """

    def __init__(self, groups: GroupIndex, rules: Callable[[ResourceKey], RuleBlock]) -> None:
        self.blocks: dict[ResourceKey, RuleBlock] = {}
        self._groups = groups
        self._rules = rules
        self._users: dict[ResourceKey, set[User]] = {}
        self._block_sets: dict[ResourceKey, frozenset[str]] = {}
        self._set_users: dict[str, set[ResourceKey]] = {}
        self._dirty: set[ResourceKey] = set()

    def change_user(
        self, user: User, before: Iterable[ResourceKey], after: Iterable[ResourceKey]
    ) -> None:
        """Record that a user has other blocks now."""
        old, new = set(before), set(after)
        for key in new - old:
            self._users.setdefault(key, set()).add(user)
        for key in old - new:
            users = self._users[key]
            users.discard(user)
            if not users:
                del self._users[key]
        self._dirty |= old ^ new

    def mark(self, keys: Iterable[ResourceKey]) -> None:
        """Record that the rules of these may have changed."""
        self._dirty.update(key for key in keys if key in self._users)

    def users_of(self, key: ResourceKey) -> Iterable[User]:
        """Return the users of a block."""
        return self._users.get(key, ())

    def users_of_set(self, uid: str) -> Iterable[ResourceKey]:
        """Return the blocks that use a set."""
        return self._set_users.get(uid, ())

    def flush(self) -> BlockChanges:
        """Convert what is dirty, begin to keep the sets that are needed now, drop the others."""
        changes = BlockChanges()
        dirty, self._dirty = self._dirty, set()
        touched: set[str] = set()
        for key in dirty:
            old = self.blocks.get(key)
            new = self._rules(key) if key in self._users else None
            if new == old:
                continue
            changes.blocks[key] = (old, new)
            if new is None:
                del self.blocks[key]
            else:
                self.blocks[key] = new
            touched |= self._use_sets(key, new, changes)
        for uid in touched:
            if uid in self._set_users:
                continue
            self._groups.drop_set(uid)
            if uid in changes.new_sets:
                changes.new_sets.discard(uid)
            else:
                changes.gone_sets.add(uid)
        return changes

    def _use_sets(
        self, key: ResourceKey, block: RuleBlock | None, changes: BlockChanges
    ) -> frozenset[str]:
        """Use the sets of a block's new rules; return those that it no longer uses."""
        selectors = block.selectors() if block else {}
        named = block.named_ports() if block else {}
        before = self._block_sets.pop(key, frozenset())
        after = frozenset((*selectors, *named))
        if after:
            self._block_sets[key] = after
        for uid in after - before:
            if uid not in self._groups.sets:
                if uid in named:
                    self._groups.use_set(named[uid].selector, named[uid])
                else:
                    self._groups.use_set(selectors[uid])
                changes.new_sets.add(uid)
            self._set_users.setdefault(uid, set()).add(key)
        for uid in before - after:
            users = self._set_users[uid]
            users.discard(key)
            if not users:
                del self._set_users[uid]
        return before - after
