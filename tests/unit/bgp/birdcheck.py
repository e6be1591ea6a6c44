"""Has BIRD judge a configuration; needs no privilege."""

from __future__ import annotations

import shutil
import subprocess
import tempfile

import pytest

needs_bird = pytest.mark.skipif(shutil.which("bird") is None, reason="needs the program bird")


def fault_of(text: str) -> str:
    """Return BIRD's complaint about a configuration, empty if it accepts it."""
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(text)
        file.flush()
        result = subprocess.run(
            ["bird", "-p", "-c", file.name], capture_output=True, text=True, check=False
        )
    return "" if result.returncode == 0 else result.stderr + result.stdout
