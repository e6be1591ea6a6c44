"""The thread that searches for flows, with a table that needs no kernel."""

from __future__ import annotations

import select
from collections.abc import Collection, Iterator
from ipaddress import ip_address
from typing import cast

from calico_openstack.felix.calc import Withdrawal
from calico_openstack.felix.flow_search import FlowSearch
from calico_openstack.felix.kernel.conntrack import ConntrackTable, Flow, FlowTuple

HERE, THERE = ip_address("10.0.0.1"), ip_address("10.9.0.1")
LOCAL = Withdrawal(frozenset({HERE.packed}))


class Table:
    """Has one flow to HERE and one that concerns nobody; fails once when told to."""

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken
        self.closed = False

    def flows(self, of: Collection[object]) -> Iterator[Flow]:
        assert of == {HERE}
        if self.broken:
            self.broken = False
            raise InterruptedError("disturbed")
        for destination in (HERE, THERE):
            first = FlowTuple(THERE, destination, 6, 5000, 80)
            yield Flow(first, FlowTuple(destination, THERE, 6, 80, 5000), 0, 0, 1)

    def close(self) -> None:
        self.closed = True


def test_a_search_tells_when_it_has_found_what_is_concerned() -> None:
    table = Table()
    search = FlowSearch(cast("ConntrackTable", table))
    for _ in range(2):
        search.begin((LOCAL,))
        assert select.select([search], [], [], 10.0)[0]
        found = search.result()
        assert [flow.reply.source for flow in found.flows] == [HERE]
        assert found.problem is None
        assert not select.select([search], [], [], 0.0)[0]
    search.close()
    assert table.closed


def test_a_search_that_fails_says_so_and_the_next_one_works() -> None:
    search = FlowSearch(cast("ConntrackTable", Table(broken=True)))
    search.begin((LOCAL,))
    assert isinstance(search.result().problem, InterruptedError)
    search.begin((LOCAL,))
    assert len(search.result().flows) == 1
    search.close()


def test_a_search_that_never_was_can_be_closed() -> None:
    table = Table()
    FlowSearch(cast("ConntrackTable", table)).close()
    assert table.closed
