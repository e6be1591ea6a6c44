"""The Makefile: what a target needs is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
TARGETS = set(re.findall(r"^\.PHONY: (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_all_targets_can_be_made() -> None:
    # In a merge a part of the file can vanish unnoticed, and every new clone with it.
    assert {"lab", "lab-down", "test", "lint", "bench"} <= TARGETS
    command = ["make", "--dry-run", "--directory", str(ROOT), *sorted(TARGETS)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
