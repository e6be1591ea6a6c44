"""BIRD as a service: its process, its configuration file and its control socket.

``reconcile`` brings BIRD to the text that is wanted, one step at a time and from whatever is there:
no process, a process of an earlier agent, a file that BIRD has not read yet. It is called whenever
the text changes and every second.

BIRD is always started with ``-R``: it takes over the routes that it finds in the kernel and waits
for its neighbours to send theirs before it touches any. Where the kernel has no routes of BIRD,
after a boot, there is nothing to take over and the wait would only delay the first routes. So BIRD
starts without sessions then, which ends the recovery at once, and gets its sessions afterwards.
"""

from __future__ import annotations

import logging
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from calico_openstack.agent.log import fields
from calico_openstack.agent.supervision import SupervisedProcess
from calico_openstack.bgp.birdc import (
    BirdCommandError,
    BirdControl,
    BirdSilentError,
    BirdUnavailableError,
)
from calico_openstack.bgp.birdstatus import (
    parse_bfd_sessions,
    parse_protocols,
    parse_route_counts,
    parse_status,
)
from calico_openstack.bgp.hang import HangWatch
from calico_openstack.bgp.install import ConfigurationFile, ConfigurationRejectedError
from calico_openstack.bgp.interfaces import has_bird_routes
from calico_openstack.bgp.status import BirdReport, Reloads
from calico_openstack.bgp.version import BirdVersion, parse_version

_log = logging.getLogger(__name__)

# The fields utime and stime of /proc/<pid>/stat (proc(5)), counted behind the program's name.
_CPU_FIELDS: Final = slice(11, 13)


@dataclass(frozen=True, slots=True)
class BirdPaths:
    """Where BIRD's files are. ``process`` is the supervisor's record of the process."""

    configuration: Path
    control: Path
    pid: Path
    process: Path
    log: Path | None


class BirdService:
    """Keeps BIRD running with the configuration that is wanted."""

    def __init__(self, paths: BirdPaths, bird: str, group: str, sessionless: str) -> None:
        self._file = ConfigurationFile(paths.configuration, bird, group)
        self._control = BirdControl(paths.control)
        self._paths = paths
        self._sessionless = sessionless
        command = [bird, "-f", "-R", "-c", str(paths.configuration)]
        command += ["-s", str(paths.control), "-P", str(paths.pid)]
        # Never SIGTERM: an orderly end tells the neighbours to forget this host's routes.
        self._process = SupervisedProcess(
            command, paths.process, log=paths.log, replace_signal=signal.SIGKILL
        )
        self._program = Program(bird)
        self._reloads = 0
        self._last_reload = 0.0
        self._wanted = self._file.read()
        self._running: str | None = None
        self._refused: str | None = None
        self._reason = ""
        self._hang = HangWatch()

    @property
    def configured(self) -> bool:
        """Whether there is any configuration to run BIRD with."""
        return self._wanted is not None

    @property
    def wanted(self) -> str | None:
        """The text that BIRD is to run with; None if there is none yet."""
        return self._wanted

    @property
    def running(self) -> bool:
        """Whether BIRD runs."""
        return self._process.running

    @property
    def settled(self) -> bool:
        """Whether BIRD runs with the text that is wanted, or has refused it."""
        return self._wanted is not None and self._wanted in (self._running, self._refused)

    @property
    def alarm(self) -> str:
        """Why BIRD does not run with the text that is wanted; empty if it does or will soon."""
        return self._reason if self._wanted == self._refused else ""

    @property
    def version(self) -> BirdVersion | None:
        """The version to write for: the older of the BIRD that runs and the one that is installed,
        which checks what is written and starts next. None if neither is known."""
        running = self._control.version if self.running else None
        known = [v for v in (running, self._program.version()) if v is not None]
        return min(known, default=None)

    @property
    def reloads(self) -> Reloads:
        """How often BIRD took over a configuration, and when last."""
        return Reloads(self._reloads, self._last_reload, self._process.starts)

    def adopt(self) -> None:
        """Take over the BIRD that an earlier agent left running, if there is one."""
        for path in (self._paths.control, self._paths.log):
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
        self._process.adopt()

    def want(self, text: str) -> None:
        """Say what BIRD is to run with from now on."""
        self._wanted = text

    def fault_of(self, text: str) -> str:
        """Return BIRD's complaint about *text*, empty if it has none or runs with it already."""
        return "" if text == self._running else self._file.fault_of(text)

    def reconcile(self) -> None:
        """Bring BIRD one step closer to what is wanted. Raises OSError."""
        if self._wanted is None:
            return
        if not self._process.running:
            self._prepare_start()
        if self._process.check():
            # What is installed is what a starting BIRD reads.
            self._running = self._file.read()
            self._hang.answered()
            self._control.close()
            # The one that has ended may have been another.
            self._control.version = None
        if self._process.running and not self.settled:
            self._apply(self._wanted)

    def report(self) -> BirdReport | None:
        """Ask BIRD how it is; None without an answer. A BIRD that hangs is killed."""
        while self._process.running:
            before = self._computed()
            try:
                report = self._ask()
            except (BirdUnavailableError, BirdCommandError) as error:
                _log.warning("BIRD does not answer: %s", error)
                stuck = isinstance(error, BirdSilentError) and self._computed() == before
                if self._hang.unanswered(computed=not stuck, now=time.monotonic()):
                    _log.error("BIRD hangs and is killed, to be started again")
                    self._process.signal(signal.SIGKILL)
                    self._hang.answered()
                    return None
                if not stuck:
                    return None
            else:
                self._hang.answered()
                return report
        return None

    def _ask(self) -> BirdReport:
        return BirdReport(
            daemon=parse_status(self._control.command("show status")),
            protocols={
                protocol.name: protocol
                for protocol in parse_protocols(self._control.command("show protocols all"))
            },
            routes=parse_route_counts(self._control.command("show route count")),
            # Without BFD this is an error, and so not more than no sessions.
            bfd=parse_bfd_sessions(self._control.query("show bfd sessions")),
        )

    def stop(self) -> None:
        """End BIRD. Its neighbours withdraw the routes of this host."""
        self._control.close()
        self._process.stop()

    def close(self) -> None:
        """Leave BIRD alone."""
        self._control.close()

    def _prepare_start(self) -> None:
        """Put in place what a starting BIRD is to read."""
        installed = self._file.read()
        text = self._wanted if has_bird_routes() else self._sessionless
        if text is None or text == installed or (text == self._refused and installed is not None):
            return
        if not self._install(text) and installed is None:
            self._install(self._sessionless)

    def _apply(self, text: str) -> None:
        if self._file.read() != text and not self._install(text):
            return
        try:
            result = self._control.configure()
        except BirdUnavailableError as error:
            _log.debug("BIRD cannot be told to read its configuration yet: %s", error)
            return
        if result.accepted:
            self._running = text
            self._refused = None
            self._reloads += 1
            self._last_reload = time.time()
            _log.info("BIRD took over its configuration", extra=fields(answer=result.text))
        else:
            self._refuse(text, result.text)

    def _install(self, text: str) -> bool:
        try:
            self._file.install(text)
        except ConfigurationRejectedError as error:
            self._refuse(text, str(error))
            return False
        return True

    def _refuse(self, text: str, reason: str) -> None:
        self._refused = text
        self._reason = f"BIRD refuses the new configuration: {reason}"
        _log.error("%s; the old one stays", self._reason)

    def _computed(self) -> list[str]:
        """Return how much processor time BIRD has used, in the kernel's words; nothing if it is
        gone."""
        try:
            stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        except OSError:
            return []
        return stat.rpartition(")")[2].split()[_CPU_FIELDS]


class Program:
    """The program BIRD; asked for its version again whenever the file is another one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._seen: tuple[int, int] | None = None
        self._version: BirdVersion | None = None

    def version(self) -> BirdVersion | None:
        """Return the version of the installed program; None if it cannot be found out."""
        path = shutil.which(self._name)
        if path is None:
            return None
        try:
            status = Path(path).stat()
        except OSError:
            return None
        seen = (status.st_ino, status.st_mtime_ns)
        if seen != self._seen:
            self._version = installed_version(path)
            self._seen = seen
        return self._version


def installed_version(bird: str) -> BirdVersion | None:
    """Return the version of the program *bird*; None if it cannot be found out."""
    try:
        result = subprocess.run(
            [bird, "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_version(result.stderr + result.stdout)
