"""The lab's supervisor with real processes, and what happens when it is killed itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from calico_openstack.agent.supervision import is_running
from calico_openstack.lab.control import ControlError, Supervisor
from calico_openstack.lab.processes import ProcessSpec, Snapshot, identify, kill_group
from calico_openstack.lab.settings import Lab
from tests.scenario.cloud import eventually

Start = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[tuple[Supervisor, Start, Lab]]:
    """A supervisor without a lab: its processes run where the test runs."""
    made = Lab(f"ls{os.getpid()}", tmp_path / "s")
    for folder in (made.run, made.logs):
        folder.mkdir(parents=True)
    supervisors: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "calico_openstack.lab.supervisor"]
        command += [made.name, str(made.state), str(os.getpid())]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        supervisors.append(process)
        eventually(Supervisor(made.control_socket).is_running, "the supervisor answers")
        return process

    control = Supervisor(made.control_socket)
    start()
    yield control, start, made
    children = [process.pid for process in control.processes()] if control.is_running() else []
    for process in supervisors:
        process.kill()
        process.wait()
    for pid in children:
        if pid and (identity := identify(pid)):
            kill_group(identity)


def spec(lab: Lab, script: str, **settings: float) -> ProcessSpec:
    return ProcessSpec(
        name="it",
        host="here",
        argv=("sh", "-c", script),
        log=str(lab.log_file("it")),
        **settings,  # type: ignore[arg-type]
    )


def running(control: Supervisor, other_than: int = 0) -> Snapshot:
    eventually(
        lambda: control.process("it").pid not in {0, other_than},
        "the process runs",
    )
    return control.process("it")


def test_a_killed_process_is_started_again_with_its_log(
    small: tuple[Supervisor, Start, Lab],
) -> None:
    control, _, lab = small
    control.add(spec(lab, "echo hello; exec sleep 1000"))
    first = running(control)
    eventually(lambda: lab.log_file("it").read_text() == "hello\n", "it has spoken")
    control.kill("it")
    second = running(control, first.pid)
    assert (second.starts, second.last_exit) == (2, -signal.SIGKILL)
    eventually(lambda: lab.log_file("it").read_text() == "hello\nhello\n", "both have spoken")


def test_a_stopped_process_stays_stopped_until_it_is_started(
    small: tuple[Supervisor, Start, Lab],
) -> None:
    control, _, lab = small
    control.add(spec(lab, "exec sleep 1000"))
    first = running(control)
    control.stop("it")
    assert control.process("it").pid == 0
    control.start("it")
    assert running(control).pid != first.pid


def test_a_process_that_does_not_obey_is_killed(small: tuple[Supervisor, Start, Lab]) -> None:
    control, _, lab = small
    script = "trap '' TERM; echo deaf; while :; do sleep 0.1; done"
    control.add(spec(lab, script, stop_timeout=0.3))
    eventually(lambda: lab.log_file("it").read_text() == "deaf\n", "it ignores signals")
    control.stop("it")
    assert control.process("it").last_exit == -signal.SIGKILL


def test_children_end_with_their_process(small: tuple[Supervisor, Start, Lab]) -> None:
    control, _, lab = small
    control.add(spec(lab, "sleep 1000 & echo $!; exec sleep 1000"))
    first = running(control)
    eventually(lambda: lab.log_file("it").read_text().strip(), "it has told its child's id")
    child = identify(int(lab.log_file("it").read_text().split()[0]))
    assert child is not None
    control.kill("it")
    running(control, first.pid)
    eventually(lambda: not is_running(child), "the child has ended")


def test_the_next_supervisor_takes_over_what_runs(small: tuple[Supervisor, Start, Lab]) -> None:
    control, start, lab = small
    (supervisor,) = list(supervisors_of(lab))
    control.add(spec(lab, "exec sleep 1000"))
    first = running(control)
    os.kill(supervisor, signal.SIGKILL)
    eventually(lambda: not control.is_running(), "the supervisor is gone")
    assert identify(first.pid) is not None
    start()
    assert control.process("it").pid == first.pid
    control.kill("it")
    assert running(control, first.pid).pid != first.pid


def test_what_is_unknown_is_refused_with_what_there_is(
    small: tuple[Supervisor, Start, Lab],
) -> None:
    control, _, lab = small
    control.add(spec(lab, "exec sleep 1000"))
    with pytest.raises(ControlError, match="no process 'other'; there are: it"):
        control.start("other")


def supervisors_of(lab: Lab) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"calico_openstack.lab.supervisor" in words and str(lab.state).encode() in words:
            found.append(int(path.parent.name))
    return found
