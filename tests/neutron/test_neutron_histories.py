"""Random histories within one process, watched at every step: see `tests.convergence`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_RUNS = 2


@pytest.mark.timeout(900)
def test_nothing_is_ever_open_that_the_database_never_allowed() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "tests.convergence.simulation", "--runs", str(_RUNS)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr[-3000:]
