"""SupervisedProcess with real children: start, adopt, restart, stop."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.agent.supervision import (
    ProcessIdentity,
    SupervisedProcess,
    command_line,
    is_running,
    parse_stat,
    send_signal,
)
from tests.support.processes import Process, eventually

SLEEP = ["/bin/sleep", "600"]


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def supervised(tmp_path: Path, clock: Clock) -> Iterator[SupervisedProcess]:
    process = SupervisedProcess(SLEEP, tmp_path / "run" / "sleep.pid", clock=clock)
    yield process
    process.stop()


def started(process: SupervisedProcess) -> int:
    """Start it and wait until the launcher has become the program."""
    assert process.check()
    pid = process.pid
    assert pid is not None
    eventually(lambda: command_line(pid) == SLEEP)
    return pid


def test_what_cannot_be_looked_at_counts_as_running() -> None:
    own, _ = parse_stat(Path("/proc/self/stat").read_text())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        running = is_running(own)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert running


def test_starts_once(supervised: SupervisedProcess) -> None:
    pid = started(supervised)
    assert not supervised.check()
    assert supervised.pid == pid
    assert parse_stat(supervised.pid_file.read_text())[0].pid == pid
    assert os.getsid(pid) == pid, "it has a session of its own"


def test_restarts_after_a_pause(supervised: SupervisedProcess, clock: Clock) -> None:
    pid = started(supervised)
    supervised.signal(signal.SIGKILL)
    eventually(lambda: not supervised.running)
    assert not supervised.check()
    clock.now += 1
    assert started(supervised) != pid
    assert supervised.starts == 2


def test_next_agent_adopts_it(supervised: SupervisedProcess) -> None:
    pid = started(supervised)
    successor = SupervisedProcess(SLEEP, supervised.pid_file)
    assert successor.adopt()
    assert successor.pid == pid
    assert not successor.check()


def test_other_arguments_replace_it(supervised: SupervisedProcess) -> None:
    started(supervised)
    successor = SupervisedProcess(["/bin/sleep", "601"], supervised.pid_file)
    assert not successor.adopt()
    assert not supervised.running
    assert successor.check()
    successor.stop()


def test_a_replaced_process_can_be_spared_an_orderly_end(tmp_path: Path) -> None:
    ready, ended = tmp_path / "ready", tmp_path / "ended"
    script = f"trap ': > {ended}; exit' TERM; : > {ready}; while :; do sleep 0.02; done"
    before = SupervisedProcess(["/bin/sh", "-c", script], tmp_path / "pid")
    before.check()
    eventually(ready.exists)
    after = SupervisedProcess(
        ["/bin/sh", "-c", "sleep 600"], tmp_path / "pid", replace_signal=signal.SIGKILL
    )
    assert not after.adopt()
    assert not before.running
    assert not ended.exists()


def test_a_stranger_with_the_same_id_is_left_alone(supervised: SupervisedProcess) -> None:
    pid = started(supervised)
    fields = supervised.pid_file.read_text().split()
    fields[21] = str(int(fields[21]) - 1)
    supervised.pid_file.write_text(" ".join(fields))
    successor = SupervisedProcess(SLEEP, supervised.pid_file)
    assert not successor.adopt()
    successor.stop()
    assert is_running(ProcessIdentity(pid, int(fields[21]) + 1))


def test_no_or_a_broken_pid_file_means_nothing_to_adopt(supervised: SupervisedProcess) -> None:
    assert not supervised.adopt()
    supervised.pid_file.parent.mkdir()
    supervised.pid_file.write_text("nonsense")
    assert not supervised.adopt()


def test_stop_kills_what_does_not_obey(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"trap '' TERM; : > {ready}; while :; do sleep 0.05; done"
    process = SupervisedProcess(["/bin/sh", "-c", script], tmp_path / "pid")
    process.check()
    eventually(ready.exists)
    pid = process.pid
    process.stop(timeout=0.2)
    assert process.pid is None
    assert pid is not None
    assert not command_line(pid)
    assert not process.pid_file.exists()


def test_restart_on_demand(supervised: SupervisedProcess) -> None:
    pid = started(supervised)
    supervised.restart("it hangs")
    assert supervised.running
    assert supervised.pid != pid


def test_command_that_does_not_exist_is_retried_with_growing_pauses(
    tmp_path: Path, clock: Clock
) -> None:
    process = SupervisedProcess(
        ["/no/such/program"], tmp_path / "pid", clock=clock, log=tmp_path / "log"
    )
    for _ in range(3):
        assert process.check()
        eventually(lambda: not process.running)
        assert not process.check()
        clock.now += 31
    assert "no/such/program" in (tmp_path / "log").read_text()


def test_outlives_an_agent_that_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path;"
        "from calico_openstack.agent.supervision import SupervisedProcess;"
        f"SupervisedProcess({SLEEP!r}, Path(sys.argv[1])).check(); time.sleep(60)"
    )
    pid_file = tmp_path / "pid"
    agent = Process([sys.executable, "-c", code, pid_file], log=tmp_path / "log")
    agent.wait_until(pid_file.exists, "pid file")
    agent.kill()
    successor = SupervisedProcess(SLEEP, pid_file)
    eventually(successor.adopt)
    assert successor.running
    successor.stop()
    assert not successor.running


def test_signal_to_a_process_that_is_gone() -> None:
    assert not send_signal(ProcessIdentity(2**22 - 1, 1), signal.SIGTERM)


@given(st.text().filter(lambda name: "\n" not in name), st.integers(1, 2**22))
def test_program_name_cannot_confuse_the_parser(name: str, pid: int) -> None:
    line = f"{pid} ({name}) S " + " ".join(str(field) for field in range(4, 53))
    assert parse_stat(line) == (ProcessIdentity(pid, 22), "S")


@pytest.mark.parametrize("line", ["", "1 (x) S 1", "(", "x (y) S " + "1 " * 50])
def test_other_lines_are_refused(line: str) -> None:
    with pytest.raises(ValueError):
        parse_stat(line)
