"""The host's MTU, in a file for whoever makes interfaces for workloads."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from calico_openstack.agent.log import fields
from calico_openstack.felix.kernel.interfaces import Interface

_log = logging.getLogger(__name__)


class MtuFile:
    """Keeps the file at *path* (None: there is none) at the smallest MTU of the host's uplinks."""

    def __init__(self, path: Path | None, pattern: str) -> None:
        self._path = path
        self._pattern = re.compile(pattern)
        self._written: int | None = None

    def follow(self, changed: Iterable[str], interfaces: Mapping[str, Interface]) -> None:
        """Write the file anew if it may depend on an interface that *changed*."""
        if any(map(self._pattern.search, changed)):
            self.update(interfaces)

    def update(self, interfaces: Mapping[str, Interface]) -> bool:
        """Write the file if the MTU changed; return whether it says the present MTU."""
        uplinks = (each.mtu for name, each in interfaces.items() if self._pattern.search(name))
        mtu = min(uplinks, default=None)
        if mtu is None or self._path is None:
            return False
        if mtu == self._written:
            return True
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            temporary = self._path.with_name(f".{self._path.name}.{os.getpid()}")
            temporary.write_text(f"{mtu}\n")
            temporary.replace(self._path)
        except OSError as error:
            _log.warning("Cannot write the file of the MTU: %s", error)
            return False
        if self._written is not None:
            extra = fields(before=self._written, now=mtu)
            _log.warning("The MTU of the host changed", extra=extra)
        self._written = mtu
        return True
