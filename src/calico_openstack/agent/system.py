"""What a host has: modules of its kernel, parameters, programs."""

from __future__ import annotations

import gzip
import re
import shutil
import zlib
from pathlib import Path


class System:
    """A host, with its files below *root*; *configuration* is the kernel's, if it is elsewhere."""

    def __init__(self, root: Path = Path("/"), configuration: Path | None = None) -> None:
        self._root = root
        self.release = self._text(root / "proc/sys/kernel/osrelease").strip()
        modules = root / "lib/modules" / self.release
        self._built_in = self._module_names(modules / "modules.builtin")
        self._loadable = self._module_names(modules / "modules.dep")
        given = configuration or root / f"boot/config-{self.release}"
        text = self._text(given) or _unpacked(root / "proc/config.gz")
        self._options = dict(re.findall(r"^CONFIG_(\w+)=([ym])$", text, re.M))

    def has_module(self, name: str, option: str) -> bool:
        """Tell whether a module is loaded, built in or can be loaded."""
        return (
            (self._root / "sys/module" / name).exists()
            or name in self._built_in
            or name in self._loadable
            or option in self._options
        )

    def switch(self, name: str) -> str:
        """Return a parameter of the kernel, empty if there is none."""
        return self._text(self._root / "proc/sys" / name).strip()

    @staticmethod
    def has_program(name: str) -> bool:
        """Tell whether a program can be found."""
        return shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin") is not None

    def _module_names(self, file: Path) -> frozenset[str]:
        names = re.findall(r"^(?:\S*/)?([^/\s.]+)\.ko[.\w]*(?::|$)", self._text(file), re.M)
        return frozenset(name.replace("-", "_") for name in names)

    @staticmethod
    def _text(file: Path) -> str:
        try:
            return file.read_text(errors="replace")
        except OSError:
            return ""


def _unpacked(file: Path) -> str:
    try:
        return gzip.decompress(file.read_bytes()).decode(errors="replace")
    except (OSError, EOFError, zlib.error):
        return ""
