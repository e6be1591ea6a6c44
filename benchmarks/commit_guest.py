"""The part of the benchmark of commits that runs in the virtual machine, see `commit_instructions`.

python -m benchmarks.commit_guest NAME...
"""

from __future__ import annotations

import pickle
import sys
import time

from benchmarks.packet_guest import FILES, program
from benchmarks.packet_path import PacketHost
from calico_openstack.felix.kernel.nft_driver import NftDriver
from calico_openstack.felix.render import names
from calico_openstack.felix.render.dataplane import TableDelta
from calico_openstack.felix.render.nft import Element, Ruleset, interface_key
from calico_openstack.felix.render.renderer import IP_TABLE

_ROUNDS = 5
_MAPS = (names.FROM_WORKLOAD, names.TO_WORKLOAD)


def main() -> None:
    """Print for each host the instructions for an endpoint that goes, and for one that comes."""
    for name in sys.argv[1:]:
        host: PacketHost = pickle.loads((FILES / name).read_bytes())
        dataplane = program(host)
        ends = {host.sender.interface, host.receiver.interface}
        element = interface_key(min(host.desired.interfaces.keys() - ends))
        rounds = [_renew(dataplane.nft, host.desired.ruleset, element) for _ in range(_ROUNDS)]
        gone, came = (min(each) for each in zip(*rounds, strict=True))
        dataplane.close()
        print(f"RESULT {name} {gone} {came}", flush=True)


def _renew(driver: NftDriver, ruleset: Ruleset, element: Element) -> tuple[int, int]:
    """Remove an endpoint from the maps and put it back; return what each takes, in instructions."""
    elements = ruleset[IP_TABLE].elements
    verdicts = {name: elements[name].pop(element) for name in _MAPS}
    gone = _apply(driver, ruleset, element)
    for name, verdict in verdicts.items():
        elements[name][element] = verdict
    return gone, _apply(driver, ruleset, element)


def _apply(driver: NftDriver, ruleset: Ruleset, element: Element) -> int:
    # The machine's clock counts instructions.
    began = time.perf_counter_ns()
    driver.apply(ruleset, {IP_TABLE: TableDelta(elements={name: {element} for name in _MAPS})})
    took = time.perf_counter_ns() - began
    if driver.failures:
        raise RuntimeError(f"not programmed: {driver.failures}")
    return took


if __name__ == "__main__":
    main()
