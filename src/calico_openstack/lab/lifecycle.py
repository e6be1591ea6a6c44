"""When a supervised process is started, signalled and started again. Pure.

The supervisor feeds events and the time (seconds of a monotonic clock) and carries out the
actions that come back:

    state      start     stop       exit                        time due
    STOPPED    spawn     -          -                           -
    RUNNING    -         terminate  wait, or spawn now on 129   -
    WAITING    spawn     stopped    -                           spawn
    STOPPING   restart   -          stopped, or spawn           kill
"""

from dataclasses import dataclass
from enum import StrEnum

# The agents' way to say "start me again now, my configuration has changed".
EXIT_RESTART_NOW = 129
# After this long a process counts as healthy and its failures are forgotten.
HEALTHY_AFTER = 30.0
FIRST_DELAY = 0.2
LONGEST_DELAY = 10.0


class State(StrEnum):
    """What a process is doing."""

    STOPPED = "stopped"
    RUNNING = "running"
    WAITING = "waiting to restart"
    STOPPING = "stopping"


class Action(StrEnum):
    """What the supervisor has to do."""

    SPAWN = "spawn"
    TERMINATE = "terminate"
    KILL = "kill"


def restart_delay(failures: int) -> float:
    """Seconds until the next attempt after so many failures in a row (at least one)."""
    return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(failures - 1, 16))


@dataclass
class Lifecycle:
    """The life of one supervised process. `due` is when `tick` has something to do."""

    stop_timeout: float = 10.0
    restart: bool = True
    state: State = State.STOPPED
    since: float = 0.0
    due: float | None = None
    failures: int = 0
    starts: int = 0
    last_exit: int | None = None
    _again: bool = False

    def start(self, now: float) -> tuple[Action, ...]:
        """Somebody wants it to run."""
        if self.state is State.RUNNING:
            return ()
        if self.state is State.STOPPING:
            self._again = True
            return ()
        self.failures = 0
        return self._spawn(now)

    def stop(self, now: float, *, again: bool = False) -> tuple[Action, ...]:
        """Somebody wants it to end; with `again`, to be started afresh when it has."""
        if self.state is State.RUNNING:
            self._enter(State.STOPPING, now, now + self.stop_timeout)
            self._again = again
            return (Action.TERMINATE,)
        if self.state is State.STOPPING:
            self._again = again
            return ()
        if again:
            return self.start(now)
        self._enter(State.STOPPED, now)
        return ()

    def exited(self, now: float, code: int | None) -> tuple[Action, ...]:
        """It has ended. `code` is as subprocess has it, None when nobody can know."""
        uptime = now - self.since
        wanted_stop = self.state is State.STOPPING
        self.last_exit = code
        if wanted_stop or not self.restart:
            again, self._again = self._again, False
            self._enter(State.STOPPED, now)
            return self._spawn(now) if again else ()
        if code == EXIT_RESTART_NOW:
            self.failures = 0
            return self._spawn(now)
        self.failures = 1 if uptime >= HEALTHY_AFTER else self.failures + 1
        self._enter(State.WAITING, now, now + restart_delay(self.failures))
        return ()

    def tick(self, now: float) -> tuple[Action, ...]:
        """Time has passed."""
        if self.due is None or now < self.due:
            return ()
        if self.state is State.WAITING:
            return self._spawn(now)
        self.due = None
        return (Action.KILL,)

    def adopted(self, now: float) -> None:
        """It was found running, started by an earlier supervisor."""
        self._enter(State.RUNNING, now)
        self.starts += 1

    def _spawn(self, now: float) -> tuple[Action, ...]:
        self._enter(State.RUNNING, now)
        self.starts += 1
        return (Action.SPAWN,)

    def _enter(self, state: State, now: float, due: float | None = None) -> None:
        self.state, self.since, self.due = state, now, due
