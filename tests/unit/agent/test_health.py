"""Health: who reported what, how long ago, and what the probes answer."""

from __future__ import annotations

from http.client import HTTPConnection

from calico_openstack.agent.health import Health
from calico_openstack.agent.health_server import HealthServer


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_nothing_to_report_is_good() -> None:
    assert Health().liveness().good
    assert Health().readiness().table == ""


def test_new_reporter_is_live_but_not_ready() -> None:
    health = Health()
    health.register("Loop", timeout=90)
    assert health.liveness().good
    assert not health.readiness().good
    health.report("Loop", detail="all well")
    assert health.readiness().good
    assert "all well" in health.readiness().table


def test_silence_beyond_the_timeout_is_bad_and_can_be_overridden() -> None:
    clock = Clock()
    health = Health(clock)
    health.register("Loop", timeout=90)
    health.report("Loop")
    clock.now += 91
    assert not health.liveness().good
    assert not health.readiness().good
    assert "timed out" in health.liveness().table
    health.override_timeouts({"Loop": 200})
    assert health.liveness().good
    health.override_timeouts({})
    assert not health.liveness().good


def test_only_claimed_attributes_count_and_reporters_may_leave() -> None:
    health = Health()
    health.register("Startup")
    health.register("Live", ready=False)
    health.report("Live", ready=False)
    assert not health.readiness().good
    health.unregister("Startup")
    assert health.readiness().good
    health.report("Live", live=False)
    assert not health.liveness().good


def test_reporters_are_listed_in_order_of_name() -> None:
    health = Health()
    for name in ("b", "a"):
        health.register(name)
    lines = health.liveness().table.splitlines()
    assert [line.split()[0] for line in lines] == ["COMPONENT", "a", "b"]


def test_server_answers_probes() -> None:
    health = Health()
    server = HealthServer(health, "127.0.0.1", 0)

    def status(path: str) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=5)
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()

    try:
        assert status("/liveness") == (204, "")
        health.register("Loop")
        code, body = status("/readiness")
        assert code == 503
        assert "Loop" in body
        health.report("Loop")
        assert status("/readiness")[0] == 200
        assert status("/other")[0] == 404
    finally:
        server.close()
