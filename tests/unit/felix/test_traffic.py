"""Counters of interfaces."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.felix.metrics import FelixMetrics
from calico_openstack.felix.traffic import Counters, counters_in

TEXT = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo c d e
    lo:     100       1    0    0    0     0          0         0      100       1 0 0 0 0 0 0
tap12345678-9a: 2000 20 1 3 0 0 0 0 40000 40 2 5 0 0 0 0
  odd: 1 2 3
"""


def test_each_interface_has_its_counters() -> None:
    found = counters_in(TEXT)
    assert found["tap12345678-9a"] == Counters(2000, 20, 3, 40000, 40, 5)
    assert set(found) == {"lo", "tap12345678-9a"}


def test_the_kernels_own_file_can_be_read() -> None:
    assert "lo" in counters_in(Path("/proc/thread-self/net/dev").read_text(encoding="ascii"))


@given(st.text())
def test_no_text_is_fatal(text: str) -> None:
    counters_in(text)


def test_activity_sums_what_was_done() -> None:
    metrics = FelixMetrics("host", process=False)
    metrics.updates.inc(2, "a")
    metrics.updates.inc(3, "b")
    metrics.apply_time.observe(0.5)
    activity = metrics.activity()
    assert activity["updates"] == 5
    assert (activity["applies"], activity["seconds of programming"]) == (1, 0.5)
