"""Backoff: growth, limit, spread."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.agent.backoff import Backoff


def test_doubles_up_to_the_limit_and_starts_over() -> None:
    backoff = Backoff(1, 5, random_unit=lambda: 1.0)
    assert [backoff.next_pause() for _ in range(5)] == [1, 2, 4, 5, 5]
    assert backoff.failures == 5
    backoff.reset()
    assert backoff.next_pause() == 1
    assert backoff.failures == 1


@given(st.floats(0, 1))
def test_spread_is_at_most_half(unit: float) -> None:
    assert 2 <= Backoff(4, 8, random_unit=lambda: unit).next_pause() <= 4
