"""The tests of the kernel's drivers, with the kernel that Debian delivers. Takes 20 minutes.

The kernel at hand may be years younger than those that hosts have: it refuses other things, and
tells other things back.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support import machine
from tests.support.netns import needs_root

pytestmark = [needs_root, pytest.mark.timeout(3600)]

# Those that need neither etcd nor a whole Felix. An emulated processor is slow.
_TESTS = (
    *("nft_driver", "nft_interfaces", "nft_listing", "nft_nat", "dataplane", "leftovers"),
    *("conntrack", "qdiscs", "packets", "rendered", "rendered_policy"),
)
_OPTIONS = ("-q", "--color=no", "-p", "pytest_timeout", "-p", "no:cacheprovider", "--timeout=1200")
_NOT_HERE = (
    # Linux 6.1 renames no interface that is up.
    *("--deselect", "tests/kernel/test_dataplane.py::test_interface_is_renamed"),
    # So many flows take longer to make here than they live.
    *("--deselect", "tests/kernel/test_conntrack.py::test_many_flows"),
)
_SUMMARY = re.compile(r"^(\d+) passed.* in ", re.MULTILINE)


def test_drivers(tmp_path: Path) -> None:
    files = [f"tests/kernel/test_{name}.py" for name in _TESTS]
    output = machine.run(
        ["python3", "-m", "pytest", *_OPTIONS, *_NOT_HERE, *files],
        tmp_path,
        packages=machine.TEST_PACKAGES,
        timeout=3000,
    )
    summary = _SUMMARY.search(output)
    assert summary is not None, output
    assert int(summary[1]) > 100
