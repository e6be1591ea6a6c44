"""BIRD's configuration file: checked before it is installed, replaced in one step."""

from __future__ import annotations

import contextlib
import grp
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_CHECK_TIMEOUT: Final = 60.0
# Passwords are in the file.
_MODE: Final = 0o640


class ConfigurationRejectedError(Exception):
    """BIRD does not accept a configuration; the message is BIRD's own."""


@dataclass(frozen=True, slots=True)
class ConfigurationFile:
    """The file that BIRD reads, the program that checks it, and the group that may read it."""

    path: Path
    bird: str = "bird"
    group: str = "bird"

    def read(self) -> str | None:
        """Return what is installed; None if nothing is."""
        try:
            return self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def fault_of(self, text: str) -> str:
        """Return BIRD's complaint about *text*, empty if it accepts it. Raises OSError."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        staged = self.path.with_name(self.path.name + ".check")
        self._write(staged, text)
        try:
            return self._fault(staged)
        finally:
            staged.unlink()

    def install(self, text: str) -> None:
        """Check *text* and put it in place; the file is the old or the new one at any time.

        Raises ConfigurationRejectedError and leaves the old file if BIRD refuses *text*, which can
        then be looked at beside it under the suffix ``.rejected``. Raises OSError.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        staged = self.path.with_name(self.path.name + ".new")
        self._write(staged, text)
        fault = self._fault(staged)
        if fault:
            staged.replace(self.path.with_name(self.path.name + ".rejected"))
            raise ConfigurationRejectedError(fault)
        staged.replace(self.path)
        _sync_directory(self.path.parent)

    def _write(self, path: Path, text: str) -> None:
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            # Neither a group that does not exist nor the lack of privilege to give the file away
            # keeps BIRD from reading it as the user that runs the agent.
            with contextlib.suppress(KeyError, PermissionError):
                os.fchown(descriptor, -1, grp.getgrnam(self.group).gr_gid)
            os.fchmod(descriptor, _MODE)
            file.write(text)
            file.flush()
            os.fsync(descriptor)

    def _fault(self, path: Path) -> str:
        """Return why BIRD refuses a file, empty if it does not."""
        try:
            result = subprocess.run(
                [self.bird, "-p", "-c", str(path)],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_CHECK_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return f"no verdict of {self.bird} -p within {_CHECK_TIMEOUT:.0f} s"
        if result.returncode == 0:
            return ""
        return (result.stderr + result.stdout).strip() or f"exit status {result.returncode}"


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
