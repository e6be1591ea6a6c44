"""All of Felix's benchmarks in one table.

python -m benchmarks.felix [--quick]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks import felix_latency, felix_start
from benchmarks.clusters import Cluster
from benchmarks.table import show

_ROUNDS = 3
_CHANGES = 200


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the smallest load, once")
    parser.add_argument("--data", type=Path, help="keep etcd's content here for the next time")
    options = parser.parse_args()
    loads = felix_start.LOADS[:1] if options.quick else felix_start.LOADS
    rounds = 1 if options.quick else _ROUNDS
    # The changes are measured on the middle one of the loads.
    load = loads[len(loads) // 2]
    with tempfile.TemporaryDirectory() as temporary:
        root = options.data or Path(temporary)
        directories = {each: root / f"{each.endpoints}-{each.groups}" for each in loads}
        rows = []
        for each in loads:
            rows += felix_start.measure(each, rounds, directories[each])
        cluster = Cluster(load.endpoints, load.groups, felix_start.LOCAL)
        rows += felix_latency.measure(cluster, _CHANGES // (1 + options.quick), directories[load])
    show(rows)


if __name__ == "__main__":
    main()
