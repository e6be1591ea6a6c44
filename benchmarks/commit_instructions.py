"""How many instructions does it take to tell the kernel of one endpoint, beside how many others?

python -m benchmarks.commit_instructions

On Debian's own kernel, which walks all ways through the rules for it. Counted is all that is done
in Felix's driver of nftables and in the kernel, for one table.
"""

from __future__ import annotations

import pickle
import re
import tempfile
from pathlib import Path

from benchmarks.packet_loads import Load, render
from benchmarks.table import Row, show
from tests.support import machine

_ENDPOINTS = (100, 200, 400, 1000)
_RESULT = re.compile(r"^RESULT (\d+) (\d+) (\d+)", re.MULTILINE)
_TIMEOUT = 1500.0


def main() -> None:
    hosts = {str(number): render(Load(number, rules=10)) for number in _ENDPOINTS}
    files = {name: pickle.dumps(host) for name, host in hosts.items()}
    command = ["python3", "-m", "benchmarks.commit_guest", *hosts]
    with tempfile.TemporaryDirectory() as temporary:
        output = machine.run(command, Path(temporary), files=files, counted=True, timeout=_TIMEOUT)
    rows = []
    for number, gone, came in _RESULT.findall(output):
        rows.append(Row(f"an endpoint comes, beside {number}", int(came) / 1e6, "M instr"))
        rows.append(Row(f"an endpoint goes, beside {number}", int(gone) / 1e6, "M instr"))
    show(rows)


if __name__ == "__main__":
    main()
