"""Gathering what is wrong with an object."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from calico_openstack.datamodel.invalid import Reason, quoted

# An object may hold a million bad elements; a reader needs to see the first few.
_MAX_FINDINGS = 50


class Findings:
    """Reasons found so far, at most 50."""

    __slots__ = ("reasons",)

    def __init__(self) -> None:
        self.reasons: list[Reason] = []

    @property
    def full(self) -> bool:
        """Whether nothing more is taken."""
        return len(self.reasons) >= _MAX_FINDINGS

    def add(self, field: str, reason: str) -> None:
        """Note what is wrong with a field."""
        if not self.full:
            self.reasons.append(Reason(field, reason))

    def reject(self, field: str, value: object, wanted: str) -> None:
        """Note that a field's value is not what is wanted."""
        self.add(field, f"{quoted(value)} is not {wanted}")

    def require_one_of(self, field: str, value: str, allowed: Collection[str]) -> None:
        """Note it if a value is not one of those allowed."""
        if value not in allowed:
            self.reject(field, value, f"one of {', '.join(sorted(filter(None, allowed)))}")

    def require_within(self, field: str, value: int | None, low: int, high: int) -> None:
        """Note it if a value, unless None, is outside its bounds, which are included."""
        if value is not None and not low <= value <= high:
            self.add(field, f"{quoted(value)} is not within {low} to {high}")

    def require_at_most(self, field: str, values: Collection[object], limit: int) -> None:
        """Note it if a list is too long."""
        if len(values) > limit:
            self.add(field, f"has {len(values)} elements; {limit} may be")

    def require_distinct(self, field: str, values: Iterable[str]) -> None:
        """Note it if a list names something twice."""
        listed = list(values)
        if len(set(listed)) != len(listed):
            self.add(field, "names the same twice")
