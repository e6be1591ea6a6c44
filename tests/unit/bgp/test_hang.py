"""Whether a BIRD hangs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.bgp.hang import BUSY_LIMIT, HangWatch


def test_one_that_computes_nothing_is_given_up_soon() -> None:
    watch = HangWatch()
    assert not watch.unanswered(computed=False, now=0)
    assert watch.unanswered(computed=False, now=4)


def test_one_that_computes_gets_its_time() -> None:
    watch = HangWatch()
    assert not any(watch.unanswered(computed=True, now=t) for t in range(int(BUSY_LIMIT)))
    assert watch.unanswered(computed=True, now=BUSY_LIMIT)


def test_an_answer_begins_anew() -> None:
    watch = HangWatch()
    watch.unanswered(computed=False, now=0)
    watch.answered()
    assert not watch.unanswered(computed=False, now=100)
    assert not watch.unanswered(computed=True, now=100 + BUSY_LIMIT - 1)


@given(st.lists(st.booleans(), max_size=6))
def test_two_questions_in_a_row_decide(computed: list[bool]) -> None:
    watch = HangWatch()
    found = [watch.unanswered(computed=each, now=0) for each in computed]
    expected = [not any(computed[i - 1 : i + 1]) and i > 0 for i in range(len(computed))]
    assert found == expected
