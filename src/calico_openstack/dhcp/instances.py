"""dnsmasq's files and processes, brought to what is wanted.

A service runs as one process, identified by its generation (see `dnsmasq.Service`). Replacing it
starts the next generation, waits until it is ready, and only then ends the one before; when the
next does not become ready, the one before goes on serving. A name server is ended first, because
two cannot listen at one address. All state is in the run folder::

    <network>/<role>-<generation>.conf     configuration
    <network>/<role>-<generation>.process  which process it is (agent.supervision)
    <network>/<role>-<generation>.ready    dnsmasq's process-id file, written once it listens
    <network>/<role>.<option>              what dnsmasq reads again on SIGHUP
    <network>/<role>.log                   dnsmasq's log
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from calico_openstack.agent.backoff import Backoff
from calico_openstack.agent.delta import DeltaTracker
from calico_openstack.agent.supervision import SupervisedProcess, command_line
from calico_openstack.dhcp.dnsmasq import Layout, Role, Service, configuration, text
from calico_openstack.dhcp.files import FileSet, read_file, write_file
from calico_openstack.dhcp.metrics import DhcpMetrics
from calico_openstack.dhcp.model import Problem
from calico_openstack.dhcp.stalls import Activity, hangs, look

_log = logging.getLogger(__name__)

_READY_TIMEOUT: Final = 3.0
_POLL: Final = 0.005
_FIRST_RETRY: Final = 1.0
_LONGEST_RETRY: Final = 30.0
_LOG_LIMIT: Final = 1 << 20
_PROCESS_FILE: Final = re.compile(r"(dhcp4|dhcp6|dns)-([0-9a-f]+)\.process")
_GENERATION_FILE: Final = re.compile(r"(dhcp4|dhcp6|dns)-([0-9a-f]+)\.(process|ready|conf)")
_OPTION: Final = "--conf-file="
# In place of a generation, where more than one was found running.
_UNCLEAR: Final = ""


class ServiceKey(NamedTuple):
    """What a service is known by."""

    network_id: str
    role: Role


@dataclass(slots=True)
class _Retry:
    """When a service that could not be started may be tried again."""

    backoff: Backoff = field(default_factory=lambda: Backoff(_FIRST_RETRY, _LONGEST_RETRY))
    generation: str = ""
    due: float = 0.0
    problem: Problem | None = None


class Instances:
    """The dnsmasq processes below *folder*, run as *user*."""

    def __init__(
        self,
        folder: Path,
        user: str,
        *,
        metrics: DhcpMetrics | None = None,
        program: str = "dnsmasq",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._user = user
        self._metrics = metrics or DhcpMetrics()
        self._program = program
        self._clock = clock
        self._services: dict[ServiceKey, Service] = {}
        self._generations: DeltaTracker[ServiceKey, str] = DeltaTracker()
        self._processes: dict[ServiceKey, dict[str, SupervisedProcess]] = {}
        self._files = FileSet()
        self._outdated: set[ServiceKey] = set()
        self._retries: dict[ServiceKey, _Retry] = {}
        self._down: dict[ServiceKey, str] = {}
        self._activities: Mapping[int, Activity] = {}
        self._untidy = True

    # --- what is wanted -------------------------------------------------------------------------

    def want(self, network_id: str, services: tuple[Service, ...]) -> None:
        """State all services of a network."""
        wanted = {service.role: service for service in services}
        for role in Role:
            key = ServiceKey(network_id, role)
            old, new = self._services.get(key), wanted.get(role)
            if old == new:
                continue
            layout = self._layout(key)
            for option in set(old.files if old else ()) - set(new.files if new else ()):
                self._files.want(Path(layout.reloadable(option)), None)
            if new is None:
                self._services.pop(key, None)
                self._generations.delete_desired(key)
                continue
            for option, lines in new.files.items():
                self._files.want(Path(layout.reloadable(option)), text(lines))
            self._services[key] = new
            self._generations.set_desired(key, new.generation)

    def processes(self) -> Iterator[tuple[str, str, int | None]]:
        """Yield network, role and process id of each service that is wanted; None: does not run."""
        for key in sorted(self._services, key=lambda each: (each.network_id, each.role.value)):
            running = (process.pid for process in self._processes.get(key, {}).values())
            yield key.network_id, key.role.value, next(filter(None, running), None)

    @property
    def network_count(self) -> int:
        """How many networks have wanted services."""
        return len({key.network_id for key in self._services})

    # --- what is there --------------------------------------------------------------------------

    def adopt(self) -> None:
        """Take over what an earlier agent left running."""
        for path in sorted(self._folder.glob("*/*.process")):
            match = _PROCESS_FILE.fullmatch(path.name)
            if match is None:
                continue
            key = ServiceKey(path.parent.name, Role(match[1]))
            process = self._process(key, match[2])
            process.adopt()
            running = self._processes.setdefault(key, {})
            running[match[2]] = process
            self._generations.set_actual(key, match[2] if len(running) == 1 else _UNCLEAR)
            # The earlier agent may have died between writing a file and saying so.
            self._outdated.add(key)
        for path in self._folder.glob("*/*.dhcp-*file"):
            self._files.look_at(path)
        for path in self._folder.glob("*/*.addn-hosts"):
            self._files.look_at(path)
        self._end_forgotten()

    def _end_forgotten(self) -> None:
        """End what runs by a configuration of ours, though no file says that it does.

        Its file was removed by others. It would answer beside the process that is started next.
        """
        known = {p.pid for each in self._processes.values() for p in each.values()}
        namespace = Path("/proc/self/ns/net").stat()
        prefix = f"{_OPTION}{self._folder}/"
        for folder in Path("/proc").glob("[0-9]*"):
            pid = int(folder.name)
            match command_line(pid):
                case [_, option] if option.startswith(prefix) and pid not in known:
                    with contextlib.suppress(OSError):
                        if os.path.samestat((folder / "ns/net").stat(), namespace):
                            _log.warning("Ending a process that was forgotten: %s", option)
                            os.kill(pid, signal.SIGTERM)

    def distrust(self) -> None:
        """Read the files again: others may have changed them. Keep the logs small."""
        self._files.look_at_all()
        for path in self._folder.glob("*/*.log"):
            with contextlib.suppress(OSError):
                if path.stat().st_size > _LOG_LIMIT:
                    # dnsmasq appends, so it goes on at the new end.
                    os.truncate(path, 0)

    # --- bringing one to the other --------------------------------------------------------------

    def reconcile(self) -> list[Problem]:
        """Write, start, tell, end; return what could not be done, and what does not run."""
        written, problems = self._files.write()
        for path in written:
            role = Role(path.name.partition(".")[0])
            self._outdated.add(ServiceKey(path.parent.name, role))
        for key, generation in list(self._generations.pending_updates.items()):
            problem = self._change(key, generation)
            if problem is not None:
                problems.append(problem)
        for key in self._outdated:
            for process in self._processes.get(key, {}).values():
                process.signal(signal.SIGHUP)
                self._metrics.reloads.labels(key.role.value).inc()
        self._outdated.clear()
        for key in list(self._generations.pending_deletions):
            self._end(key, keep="")
            self._generations.delete_actual(key)
            self._retries.pop(key, None)
            self._untidy = True
        self._files.remove()
        if self._untidy:
            self._sweep()
        for role in Role:
            running = sum(len(each) for key, each in self._processes.items() if key.role is role)
            self._metrics.processes.labels(role.value).set(running)
        return problems + self._not_running()

    def check(self) -> None:
        """Start again what has died; to be called every second or so."""
        self._down.clear()
        for key, processes in self._processes.items():
            for generation, process in processes.items():
                try:
                    if process.check():
                        self._metrics.starts.labels(key.role.value, "end").inc()
                except OSError as error:
                    self._down[key] = f"cannot be started: {error}"
                if process.pausing:
                    self._down[key] = f"dnsmasq ended: {_last_line(Path(self._layout(key).log))}"
                    self._restore_configuration(key, generation)

    def end_hanging(self) -> None:
        """Kill what has not worked since the last call, so that `check` starts it again."""
        running = {p.pid: p for each in self._processes.values() for p in each.values()}
        activities = look(pid for pid in running if pid is not None)
        for pid, activity in activities.items():
            if hangs(self._activities.get(pid), activity):
                _log.error("A process hangs and is killed: %s", " ".join(running[pid].command))
                running[pid].signal(signal.SIGKILL)
        self._activities = activities

    def stop(self) -> None:
        """End everything, also what is wanted."""
        for key in list(self._processes):
            self._end(key, keep="")
            self._generations.delete_actual(key)

    def _not_running(self) -> list[Problem]:
        """Return which services had ended by the last check, and why they are not back."""
        return [
            Problem(self._services[key].name, "", reason)
            for key, reason in self._down.items()
            if key in self._services
        ]

    def _change(self, key: ServiceKey, generation: str) -> Problem | None:
        """Make *generation* the only one that runs; return why that failed."""
        retry = self._retries.setdefault(key, _Retry())
        if retry.generation != generation:
            retry.backoff.reset()
        elif self._clock() < retry.due:
            return retry.problem
        if generation not in self._processes.get(key, {}):
            if key.role is Role.DNS:
                self._end(key, keep="")
                self._generations.delete_actual(key)
            reason = self._start(key, generation)
            if reason:
                retry.generation = generation
                retry.due = self._clock() + retry.backoff.next_pause()
                retry.problem = Problem(self._services[key].name, "", reason)
                return retry.problem
            self._outdated.discard(key)
        self._end(key, keep=generation)
        self._generations.set_actual(key, generation)
        del self._retries[key]
        return None

    def _start(self, key: ServiceKey, generation: str) -> str:
        """Start a process and wait until it is ready; return why it is not."""
        service, layout = self._services[key], self._layout(key)
        ready = Path(layout.pid_file(generation))
        process = self._process(key, generation)
        try:
            write_file(
                Path(layout.configuration(generation)), configuration(service, layout, self._user)
            )
            ready.unlink(missing_ok=True)
            process.check()
        except OSError as error:
            return f"cannot be started: {error}"
        deadline = self._clock() + _READY_TIMEOUT
        while process.running and self._clock() < deadline:
            if (read_file(ready) or "").strip() == str(process.pid):
                self._processes.setdefault(key, {})[generation] = process
                self._metrics.starts.labels(key.role.value, "change").inc()
                return ""
            time.sleep(_POLL)
        reason = "is not ready in time" if process.running else "ended at once"
        process.stop()
        self._remove_files(key, generation)
        return f"dnsmasq {reason}: {_last_line(Path(layout.log))}"

    def _restore_configuration(self, key: ServiceKey, generation: str) -> None:
        """Write a configuration again that others have removed or damaged."""
        service, layout = self._services.get(key), self._layout(key)
        if service is None or service.generation != generation:
            return
        path = Path(layout.configuration(generation))
        wanted = configuration(service, layout, self._user)
        if read_file(path) != wanted:
            with contextlib.suppress(OSError):
                write_file(path, wanted)

    def _end(self, key: ServiceKey, *, keep: str) -> None:
        processes = self._processes.get(key, {})
        for generation in [each for each in processes if each != keep]:
            processes.pop(generation).stop()
            self._remove_files(key, generation)
        if not processes:
            self._processes.pop(key, None)
            Path(self._layout(key).log).unlink(missing_ok=True)

    def _remove_files(self, key: ServiceKey, generation: str) -> None:
        layout = self._layout(key)
        for name in (layout.configuration(generation), layout.pid_file(generation)):
            Path(name).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Remove files of generations and folders of networks that nothing runs of."""
        self._untidy = False
        if not self._folder.is_dir():
            return
        for folder in self._folder.iterdir():
            if any(key.network_id == folder.name for key in self._services):
                continue
            for path in list(folder.iterdir()) if folder.is_dir() else []:
                match = _GENERATION_FILE.fullmatch(path.name)
                if match and not self._processes.get(ServiceKey(folder.name, Role(match[1]))):
                    path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _layout(self, key: ServiceKey) -> Layout:
        return Layout(str(self._folder / key.network_id), key.role)

    def _process(self, key: ServiceKey, generation: str) -> SupervisedProcess:
        layout = self._layout(key)
        conf = layout.configuration(generation)
        return SupervisedProcess(
            [self._program, f"{_OPTION}{conf}"],
            Path(conf).with_suffix(".process"),
            log=Path(layout.log),
            clock=self._clock,
        )


def _last_line(path: Path) -> str:
    lines = (read_file(path) or "").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
