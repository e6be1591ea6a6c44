"""Rates from two samples, and how they are shown."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.agent.introspection.protocol import Answer
from calico_openstack.calicoctl.top.samples import (
    HostRates,
    PortRates,
    Sample,
    host_rates,
    port_rates,
    sample_of,
)
from calico_openstack.calicoctl.top.screen import amount, busiest, host_lines, port_lines


def _answers(time: float, sent: int, updates: int = 0) -> dict[str, Answer]:
    traffic = {"interface": "tap1", "port": "123", "from bytes": f"{sent}", "from packets": "1"}
    traffic |= {"to bytes": "0", "to packets": "0", "dropped": "0"}
    activity = {"updates": f"{updates}", "batches": f"{updates}"}
    activity["seconds of calculation"] = f"{updates / 100:.6f}"
    return {
        "traffic": Answer(rows=(traffic,), total=1),
        "activity": Answer(rows=tuple({"what": k, "value": v} for k, v in activity.items())),
        "queues": Answer(rows=({"queue": "batches", "waiting": "3"},)),
        "host": Answer(
            rows=(
                {"what": "time", "value": f"{time:.3f}"},
                {"what": "net/netfilter/nf_conntrack_count", "value": "42"},
            )
        ),
        "down": Answer(total=1),
    }


def _sample(time: float, sent: int, updates: int = 0) -> Sample:
    return sample_of("one", _answers(time, sent, updates))


def test_rates_are_of_the_time_between_by_the_hosts_clock() -> None:
    rates = host_rates(_sample(100, 1000), _sample(102, 2000, updates=10))
    assert rates == HostRates(
        "one", 1, 1, 42, sent=4000.0, received=0.0, updates=5.0, lag=0.01, waiting=3
    )


@pytest.mark.parametrize(
    "before",
    [None, _sample(102, 1000), _sample(100, 0, updates=9), Sample("one", error="is busy")],
)
def test_without_an_earlier_count_there_is_no_rate(before: Sample | None) -> None:
    rates = host_rates(before, _sample(102, 2000))
    assert (rates.sent, rates.updates, rates.lag) == (None, None, None)
    assert rates.flows == 42


def test_an_interface_made_anew_has_no_rate_yet() -> None:
    assert not list(port_rates(_sample(100, 1000), _sample(102, 999)))


def test_a_host_that_does_not_answer_says_why() -> None:
    answers: Mapping[str, Answer] = {**_answers(1, 1), "queues": Answer(error="no answer")}
    assert list(host_lines([host_rates(None, sample_of("one", answers))])) == ["one: no answer"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0"), (999.4, "999"), (1500, "1.5k"), (2.5e9, "2.5G"), (5e16, "50000T")],
)
def test_numbers_have_prefixes(value: float | None, text: str) -> None:
    assert amount(value) == text


@given(st.floats(min_value=0, max_value=1e15))
def test_an_amount_fits_its_column(value: float) -> None:
    assert len(amount(value)) <= 8


def test_the_busiest_ports_come_first() -> None:
    ports = [
        PortRates("h", "a", "t", 1, 1, 9, 9, 0),
        PortRates("h", "b", "t", 5, 5, 1, 1, 0),
        PortRates("h", "c", "t", 0, 0, 0, 0, 7),
    ]
    assert [each.port for each in busiest(ports, "bandwidth", 2)] == ["b", "a"]
    assert busiest(ports, "packets", 1)[0].port == "a"
    assert busiest(ports, "drops", 1)[0].port == "c"
    assert list(port_lines(ports[:1], {"a": "web"}))[1].split()[:2] == ["web", "h"]
