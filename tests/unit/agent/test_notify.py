"""What the service manager is told, on a real socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from calico_openstack.agent.mainloop import MainLoop
from calico_openstack.agent.notify import ServiceManager


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.setblocking(False)
        yield receiver


def heard(receiver: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(receiver.recv(4096).decode())
        except BlockingIOError:
            return messages


def environment(receiver: socket.socket, **others: str) -> dict[str, str]:
    return {"NOTIFY_SOCKET": receiver.getsockname(), "HOME": "/", **others}


def test_it_says_ready_once(manager: socket.socket) -> None:
    service = ServiceManager(environment(manager))
    service.ready()
    service.ready()
    service.status("one\ntwo")
    service.stopping()
    assert heard(manager) == ["READY=1", "STATUS=one two", "STOPPING=1"]


def test_children_do_not_inherit_it(manager: socket.socket) -> None:
    variables = environment(manager, WATCHDOG_USEC="1000000", WATCHDOG_PID=str(os.getpid()))
    ServiceManager(variables)
    assert variables == {"HOME": "/"}


def test_progress_is_told_often_enough_and_not_more(manager: socket.socket) -> None:
    now = 100.0
    service = ServiceManager(environment(manager, WATCHDOG_USEC="20000000"), lambda: now)
    service.progress()
    assert heard(manager) == ["WATCHDOG=1"]
    now += 1.0
    service.progress()
    assert heard(manager) == []
    now += 5.0
    service.progress()
    assert heard(manager) == ["WATCHDOG=1"]


def test_a_watchdog_of_another_process_is_not_fed(manager: socket.socket) -> None:
    service = ServiceManager(environment(manager, WATCHDOG_USEC="20000000", WATCHDOG_PID="1"))
    service.progress()
    assert heard(manager) == []


def test_without_a_manager_nothing_happens(tmp_path: Path) -> None:
    ServiceManager({}).ready()
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()


def test_the_loop_tells_of_its_passes(manager: socket.socket) -> None:
    variables = environment(manager, WATCHDOG_USEC="2000000")
    loop: MainLoop[int] = MainLoop(lambda _events: loop.stop(), manager=ServiceManager(variables))
    loop.post(1)
    loop.run()
    loop.close()
    assert heard(manager) == ["WATCHDOG=1", "READY=1", "STOPPING=1"]


def test_the_loop_leaves_readiness_to_who_knows_better(manager: socket.socket) -> None:
    service = ServiceManager(environment(manager))
    loop: MainLoop[int] = MainLoop(
        lambda _events: loop.stop(), manager=service, ready_when_running=False
    )
    loop.post(1)
    loop.run()
    loop.close()
    assert heard(manager) == ["STOPPING=1"]
