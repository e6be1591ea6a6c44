"""Small text files brought to what is wanted, each replaced as a whole."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from calico_openstack.agent.delta import DeltaTracker
from calico_openstack.dhcp.model import Problem

_FILE_MODE: Final = 0o644
_FOLDER_MODE: Final = 0o755


def write_file(path: Path, content: str) -> None:
    """Replace *path* at once, readable for all; its folder is made if need be."""
    make_folder(path.parent)
    new = path.with_name(path.name + ".new")
    new.write_text(content, encoding="utf-8")
    new.chmod(_FILE_MODE)
    new.replace(path)


def make_folder(folder: Path) -> None:
    """Make a folder that others may enter, and those above it that are missing."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        folder.chmod(_FOLDER_MODE)


def read_file(path: Path) -> str | None:
    """Return the content of a file, None if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


class FileSet:
    """The wanted content of files by name, and what is there."""

    def __init__(self) -> None:
        self._tracker: DeltaTracker[Path, str] = DeltaTracker()

    def want(self, path: Path, content: str | None) -> None:
        """State the content of a file; None: it shall not be there."""
        if content is None:
            self._tracker.delete_desired(path)
        else:
            if path not in self._tracker.actual:
                self.look_at(path)
            self._tracker.set_desired(path, content)

    def look_at(self, path: Path) -> None:
        """Read a file that may have been changed by others."""
        content = read_file(path)
        if content is None:
            self._tracker.delete_actual(path)
        else:
            self._tracker.set_actual(path, content)

    def look_at_all(self) -> None:
        """Read all known files."""
        for path in {*self._tracker.actual, *self._tracker.desired}:
            self.look_at(path)

    def write(self) -> tuple[list[Path], list[Problem]]:
        """Write what differs; return the files written, and those that could not be."""
        written, problems = [], []
        for path, content in list(self._tracker.pending_updates.items()):
            try:
                write_file(path, content)
            except OSError as error:
                problems.append(Problem(str(path), "", f"cannot be written: {error.strerror}"))
                continue
            self._tracker.set_actual(path, content)
            written.append(path)
        return written, problems

    def remove(self) -> None:
        """Remove what is not wanted any more."""
        for path in list(self._tracker.pending_deletions):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            self._tracker.delete_actual(path)
