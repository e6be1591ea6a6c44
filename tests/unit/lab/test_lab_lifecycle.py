"""When the supervisor starts, signals and restarts a process."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.lab.lifecycle import (
    EXIT_RESTART_NOW,
    HEALTHY_AFTER,
    LONGEST_DELAY,
    Action,
    Lifecycle,
    State,
    restart_delay,
)


def running(**settings: float | bool) -> Lifecycle:
    life = Lifecycle(**settings)  # type: ignore[arg-type]
    assert life.start(0.0) == (Action.SPAWN,)
    return life


def test_a_started_process_is_spawned_once() -> None:
    life = running()
    assert life.start(1.0) == ()
    assert (life.state, life.starts) == (State.RUNNING, 1)


def test_a_failed_process_waits_and_is_spawned_again_when_due() -> None:
    life = running()
    assert life.exited(1.0, 1) == ()
    assert life.state is State.WAITING
    assert life.due is not None
    assert life.tick(life.due - 0.01) == ()
    assert life.tick(life.due) == (Action.SPAWN,)
    assert life.state.value == "running"
    assert life.due is None


def test_a_process_that_asks_for_it_is_started_again_at_once() -> None:
    life = running()
    assert life.exited(1.0, EXIT_RESTART_NOW) == (Action.SPAWN,)


def test_failures_in_a_row_wait_longer_and_health_forgets_them() -> None:
    life = running()
    delays = []
    now = 0.0
    for _ in range(4):
        life.exited(now, -9)
        assert life.due is not None
        delays.append(life.due - now)
        now = life.due
        life.tick(now)
    assert delays == sorted(delays)
    assert len(set(delays)) == 4
    life.exited(now + HEALTHY_AFTER, -9)
    assert life.failures == 1


def test_a_stop_terminates_and_kills_when_patience_ends() -> None:
    life = running(stop_timeout=5.0)
    assert life.stop(10.0) == (Action.TERMINATE,)
    assert life.tick(14.9) == ()
    assert life.tick(15.0) == (Action.KILL,)
    assert life.tick(16.0) == ()
    assert life.exited(16.1, -9) == ()
    assert life.state is State.STOPPED


def test_a_stopped_process_stays_stopped() -> None:
    life = running()
    life.stop(1.0)
    life.exited(1.1, 0)
    assert life.tick(1000.0) == ()
    assert life.state is State.STOPPED


def test_a_start_while_stopping_starts_after_the_end() -> None:
    life = running()
    life.stop(1.0)
    assert life.start(1.1) == ()
    assert life.exited(1.2, 0) == (Action.SPAWN,)


def test_a_restart_of_what_is_stopped_starts_it() -> None:
    life = Lifecycle()
    assert life.stop(0.0, again=True) == (Action.SPAWN,)


def test_a_stop_while_waiting_ends_the_attempts() -> None:
    life = running()
    life.exited(1.0, 1)
    assert life.stop(1.05) == ()
    assert life.state is State.STOPPED
    assert life.tick(100.0) == ()


def test_a_process_that_is_not_to_be_restarted_is_not() -> None:
    life = running(restart=False)
    assert life.exited(1.0, 1) == ()
    assert life.state is State.STOPPED


@given(st.integers(min_value=1, max_value=10_000))
def test_delays_grow_and_are_bounded(failures: int) -> None:
    assert 0 < restart_delay(failures) <= restart_delay(failures + 1) <= LONGEST_DELAY


EVENTS = st.sampled_from(["start", "stop", "again", "exit", "exit129", "tick"])


@given(st.lists(EVENTS, max_size=40))
def test_there_is_never_more_than_one_process(events: list[str]) -> None:
    life, alive, now = Lifecycle(), False, 0.0
    for event in events:
        now += 0.3
        if event.startswith("exit") and not alive:
            continue
        if event == "start":
            actions = life.start(now)
        elif event in {"stop", "again"}:
            actions = life.stop(now, again=event == "again")
        elif event == "tick":
            actions = life.tick(now)
        else:
            alive = False
            actions = life.exited(now, EXIT_RESTART_NOW if event == "exit129" else 1)
        for action in actions:
            if action is Action.SPAWN:
                assert not alive
                alive = True
            else:
                assert alive
        assert alive == (life.state in {State.RUNNING, State.STOPPING})


@pytest.mark.parametrize("state", [State.STOPPED, State.WAITING])
def test_nothing_is_signalled_that_does_not_run(state: State) -> None:
    life = Lifecycle(state=state)
    assert life.stop(0.0) == ()
