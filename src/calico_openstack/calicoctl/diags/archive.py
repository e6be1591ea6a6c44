"""The archive: a compressed tar of text files without secrets."""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from calico_openstack.calicoctl.diags.redaction import redacted
from calico_openstack.calicoctl.store import StoreError

# The end of a log tells most; a larger file would make the archive too large to send.
_LARGEST: Final = 16 << 20


class Archive:
    """Text files below one folder. *report* takes a line about each thing that is collected.

    Only its owner may read it, and what exists at *path* is never written to.
    """

    def __init__(self, path: Path, report: Callable[[str], None]) -> None:
        self._report = report
        self._folder = path.name.removesuffix(".tar.gz")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            self._file = os.fdopen(os.open(path, flags, 0o600), "wb")
        except OSError as error:
            raise StoreError(
                f"cannot write {path}: {error.strerror}; name another folder with --output-dir"
            ) from None
        self._tar = tarfile.open(fileobj=self._file, mode="w:gz")  # noqa: SIM115 - closed at exit

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._tar.close()
        self._file.close()

    def add(self, name: str, text: str) -> None:
        """Add a file; of one that is too large, its end."""
        data = redacted(text[-_LARGEST:]).encode(errors="replace")
        entry = tarfile.TarInfo(f"{self._folder}/{name}")
        entry.size = len(data)
        entry.mtime = int(time.time())
        entry.mode = 0o600
        self._tar.addfile(entry, io.BytesIO(data))

    def report(self, line: str) -> None:
        """Tell whoever waits what is collected now."""
        self._report(line)
