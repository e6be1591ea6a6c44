"""Files that tell other programs on this host which endpoints are programmed.

One file an endpoint in ``endpoint-status`` below a directory, in upstream's form (specification
section 4.6): what generates BIRD's configuration for peerings with workloads reads them.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

from calico_openstack.agent.delta import DeltaTracker
from calico_openstack.agent.log import fields
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.felix.calc import LocalEndpoint
from calico_openstack.policy.addresses import ip_version, unpack_address

_log = logging.getLogger(__name__)

_DIRECTORY: Final = "endpoint-status"
# A name that no endpoint's file can have: theirs contain blanks.
_TEMPORARY: Final = ".new"
_RETRY: Final = 10.0
# What Go's PathEscape leaves alone beside letters, digits and ``-_.~``.
_PLAIN: Final = "$&+=:@"

_Changes = dict[ResourceKey, LocalEndpoint | None]
"""The present endpoints of keys, None for none."""


def file_name(key: ResourceKey, endpoint: LocalEndpoint) -> str:
    """Return the name of an endpoint's file: orchestrator, workload and endpoint, escaped."""
    spec = endpoint.spec
    workload = f"{key.namespace}/{spec.workload}"
    parts = (spec.orchestrator, workload, spec.endpoint)
    return " ".join(quote(part, safe=_PLAIN) for part in parts)


def content(endpoint: LocalEndpoint) -> bytes:
    """Return what an endpoint's file says."""
    nets: dict[int, list[str]] = {4: [], 6: []}
    for address in endpoint.addresses:
        nets[ip_version(address)].append(f"{unpack_address(address)}/{len(address) * 8}")
    said = {
        "ifaceName": endpoint.interface,
        "mac": endpoint.mac.hex(":"),
        "ipv4Nets": nets[4],
        "ipv6Nets": nets[6],
        "bgpPeerName": endpoint.peer,
    }
    return json.dumps(said, separators=(",", ":")).encode()


def directory_of(prefix: str) -> Path | None:
    """Return where the files are, given the parameter ``EndpointStatusPathPrefix``; None: none."""
    return Path(prefix) / _DIRECTORY if prefix and prefix.lower() != "none" else None


class StatusFiles:
    """Keeps the files in *directory*, None for no files, in step with what is programmed.

    What cannot be written is complained about once and tried again with the next `apply`; nothing
    else depends on it.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._files: DeltaTracker[str, bytes] = DeltaTracker()
        self._names: dict[ResourceKey, str] = {}
        self._listed = False
        self._problem = ""

    def apply(
        self, changed: Iterable[ResourceKey], endpoints: Mapping[ResourceKey, LocalEndpoint]
    ) -> None:
        """Bring the files up to date, given whose endpoints may have changed; they are programmed.

        The first time, files that a previous run has left are removed.
        """
        if self._directory is None:
            return
        for key in changed:
            name = self._names.pop(key, None)
            if name is not None:
                self._files.delete_desired(name)
        for key in changed:
            endpoint = endpoints.get(key)
            if endpoint is not None:
                self._names[key] = name = file_name(key, endpoint)
                self._files.set_desired(name, content(endpoint))
        if self._listed and self._files.in_sync:
            return
        try:
            self._write(self._directory)
        except OSError as error:
            self._complain(str(error))
        else:
            self._complain("")

    @property
    def in_step(self) -> bool:
        """Whether nothing is left to write."""
        return not self._problem

    def _write(self, directory: Path) -> None:
        if not self._listed:
            directory.mkdir(parents=True, exist_ok=True)
            self._files.replace_actual(
                {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
            )
            self._listed = True
        problem: OSError | None = None
        for name in list(self._files.pending_deletions):
            (directory / name).unlink(missing_ok=True)
            self._files.delete_actual(name)
        temporary = directory / _TEMPORARY
        for name, said in list(self._files.pending_updates.items()):
            # As many as there are endpoints: plain system calls.
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC)
            try:
                os.write(descriptor, said)
            finally:
                os.close(descriptor)
            try:
                temporary.replace(f"{directory}/{name}")
            except OSError as error:
                # A name that no file can have must not keep the others from being written.
                problem = error
            else:
                self._files.set_actual(name, said)
        if problem is not None:
            raise problem

    def _complain(self, problem: str) -> None:
        if problem and problem != self._problem:
            _log.warning("Cannot keep the endpoints' status files", extra=fields(reason=problem))
        elif self._problem and not problem:
            _log.info("The endpoints' status files are up to date again")
        self._problem = problem


class StatusFileWriter:
    """Lets a thread of its own, started by the first `apply`, keep *files*.

    Several changes of an endpoint that wait are written as the last of them.
    """

    def __init__(self, files: StatusFiles) -> None:
        self._files = files
        self._changes: queue.SimpleQueue[_Changes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="status-files", daemon=True)

    def apply(
        self, changed: Iterable[ResourceKey], endpoints: Mapping[ResourceKey, LocalEndpoint]
    ) -> None:
        """See `StatusFiles.apply`; returns before it is done."""
        changes = {key: endpoints.get(key) for key in changed}
        if not self._thread.ident:
            self._thread.start()
        elif not changes:
            return
        self._changes.put(changes)

    def close(self, timeout: float = 2.0) -> None:
        """End the thread when it has written what there is to write."""
        if self._thread.ident:
            self._changes.put(None)
            self._thread.join(timeout)

    def _run(self) -> None:
        ended = False
        while not ended:
            latest: _Changes = {}
            try:
                changes = self._changes.get(timeout=None if self._files.in_step else _RETRY)
                while changes is not None:
                    latest |= changes
                    changes = self._changes.get_nowait()
                ended = True
            except queue.Empty:
                pass
            present = {key: value for key, value in latest.items() if value is not None}
            self._files.apply(latest, present)
