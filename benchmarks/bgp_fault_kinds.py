"""What befalls hosts, sessions and daemons, and what a steady stream of packets notices of it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final

from benchmarks.bgp_events import (
    INTERVAL,
    LIMIT,
    Measured,
    Observer,
    add,
    answers,
    is_gone,
)
from benchmarks.bgp_lab import HOLD_TIME, PASSWORD, Cloud, End, Layout
from calico_openstack.bgp.settings import FAMILIES
from tests.bgp.fabric import PREFIX
from tests.bgp.stream import Stream
from tests.support.processes import eventually

_LEAD: Final = 0.5
_TAKEN_UP: Final = 6.0
_BGP_PORT: Final = "179"
_WITH_BFD: Final = (
    "host lost",
    "reflector lost",
    "router's BIRD killed",
    "BIRD killed (SIGKILL)",
)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Two guests between whose hosts packets flow in both directions."""

    asking: End
    asked: End
    directory: Path


class Faults:
    """Makes faults in a cloud; each method is one repetition of one kind and returns the seconds
    until all is well again, by family.

    Those are made whose name with its note matches the regular expression *only*.
    """

    def __init__(self, cloud: Cloud, observer: Observer, directory: Path, only: str = "") -> None:
        self.cloud = cloud
        self._only = re.compile(only)
        self._observer = observer
        one, other, third, lonely = cloud.computes
        self._hit, self._lost_host = one, lonely
        self._traffic = Traffic(cloud.plug(1, one), cloud.plug(2, other), directory)
        self._beside = Traffic(cloud.plug(3, third), self._traffic.asked, directory)
        self._lonely = cloud.plug(4, lonely)
        self._fresh = 200
        for end in (self._traffic.asking, self._traffic.asked, self._beside.asking, self._lonely):
            cloud.bind(end)
        for address in self._traffic.asked.addresses:
            answers(self._traffic.asking, address)
            answers(self._beside.asking, address)

    def run(self, repetitions: int) -> Iterator[Measured]:
        """Yield every kind of fault."""
        yield from self._repeated("nothing", self.nothing, repetitions, note="3 s of it")
        for name, fault in (
            ("session's connection broken", self.flap),
            ("session reset by an operator", self.reset),
            ("BIRD killed (SIGKILL)", self.bird_killed),
            ("BIRD hangs (SIGSTOP)", self.bird_hangs),
            ("agent killed, workload created", self.agent_killed),
            ("etcd away, BIRD killed", self.etcd_away),
        ):
            yield from self._repeated(name, fault, repetitions)
        beside = "packets between two other hosts; time from the mending"
        yield from self._repeated("wrong password", self.wrong_password, repetitions, note=beside)
        alarm = "time to the report of it"
        yield from self._repeated("bad filter", self.bad_filter, repetitions, note=alarm)
        yield from self._repeated("colliding addresses", self.collision, 1, note=alarm)
        yield from self._losses(repetitions, f"hold time {HOLD_TIME}")
        for marks in ("300ms/300ms/3", "300ms/300ms/3/graceful"):
            if not any(self._wanted(name, f"BFD {marks}") for name in _WITH_BFD):
                continue
            self._follow_bfd(marks)
            yield from self._losses(repetitions, f"BFD {marks}")
            killed = "BIRD killed (SIGKILL)"
            yield from self._repeated(killed, self.bird_killed, repetitions, note=f"BFD {marks}")

    def _losses(self, repetitions: int, note: str) -> Iterator[Measured]:
        yield from self._repeated("host lost", self.host_loss, repetitions, note)
        if self.cloud.layout is Layout.REFLECTORS:
            yield from self._repeated("reflector lost", self.reflector_loss, repetitions, note)
        if self.cloud.layout is Layout.TOR:
            yield from self._repeated(
                "router's BIRD killed", self.router_restart, repetitions, note
            )

    def _repeated(
        self, name: str, fault: Callable[[], dict[int, float]], repetitions: int, note: str = ""
    ) -> Iterator[Measured]:
        if not self._wanted(name, note):
            return
        measured = Measured(name, note=note)
        traffic = self._beside if name == "wrong password" else self._traffic
        for _ in range(repetitions):
            streams = [
                Stream(
                    traffic.asking.namespace,
                    address,
                    [traffic.asked.namespace],
                    traffic.directory,
                    INTERVAL,
                )
                for address in traffic.asked.addresses
            ]
            time.sleep(_LEAD)
            add(measured, {family: [value] for family, value in fault().items()})
            time.sleep(_LEAD)
            for family, stream in zip(FAMILIES, streams, strict=True):
                outcome = stream.finish()
                measured.lost[family] += outcome.lost + outcome.unanswered
                measured.sent += len(outcome.sent)
                at = sorted(outcome.echoed.values())
                gaps = [after - before for before, after in pairwise(at)]
                measured.outages[family].append(max(gaps, default=0.0))
            self.cloud.wait_for_sessions()
            self._wait_for_the_lonely()
            for address in traffic.asked.addresses:
                answers(traffic.asking, address)
        yield measured

    def _wanted(self, name: str, note: str) -> bool:
        return bool(self._only.search(f"{name}, {note}"))

    def nothing(self) -> dict[int, float]:
        """Let packets flow; what is lost now is lost by the machine."""
        time.sleep(3)
        return {}

    def host_loss(self) -> dict[int, float]:
        """Cut a host off; the time is until the others have no routes to its workload."""
        others = [host for host in self.cloud.computes if host is not self._lost_host]
        addresses = self._lonely.addresses
        cut = partial(self.cloud.fabric.cut, self._lost_host)
        times = self._observer.until(cut, addresses, others, is_gone, appear=False)
        self.cloud.fabric.mend(self._lost_host)
        self.cloud.wait_for_sessions()
        self._wait_for_the_lonely()
        return {family: max(values) for family, values in times.items()}

    def _follow_bfd(self, marks: str) -> None:
        self.cloud.store_layout(bfd=marks)
        # Agents take it up one after the other, and each restarts its sessions for it.
        time.sleep(_TAKEN_UP)
        for host in self.cloud.hosts:
            eventually(
                lambda h=host: {s.get("bfd") for s in h.status()["sessions"]} == {"Up"}, LIMIT
            )
        self.cloud.wait_for_sessions()
        self._wait_for_the_lonely()

    def _wait_for_the_lonely(self) -> None:
        """Wait until every other host knows the way to the workload of the host that is lost."""
        for host in self.cloud.computes:
            for address in self._lonely.addresses:
                if host is not self._lost_host:
                    eventually(partial(self.cloud.leads_to, self._lonely, host, address), LIMIT)

    def reflector_loss(self) -> dict[int, float]:
        """Cut a reflector off; the time is until its clients have noticed."""
        lost = self.cloud.reflectors[0]
        begun = time.monotonic()
        self.cloud.fabric.cut(lost)
        noticed = self._until(lambda: len(self._hit.established()) == 2, begun)
        time.sleep(3)
        self.cloud.fabric.mend(lost)
        return noticed

    def router_restart(self) -> dict[int, float]:
        """Restart the router's BIRD; the time is until the host's sessions are up again."""
        begun = time.monotonic()
        self.cloud.restart_router()
        return self._back(begun)

    def flap(self) -> dict[int, float]:
        """Break the connections of a host's sessions, as a firewall or the kernel may."""
        begun = time.monotonic()
        for name in ("dport", "sport"):
            self._hit.namespace.run("ss", "-K", "-t", name, "=", _BGP_PORT, check=False)
        return self._back(begun)

    def reset(self) -> dict[int, float]:
        """Have BIRD restart one session of each family."""
        names = sorted(self._hit.established())
        chosen = [names[0], next(n for n in names if ("fd77" in n) != ("fd77" in names[0]))]
        begun = time.monotonic()
        for name in chosen:
            self._hit.birdc("restart", name)
        return self._back(begun)

    def bird_killed(self) -> dict[int, float]:
        """Kill BIRD; the time is until its sessions are up again."""
        before, begun = self._hit.bird_pid, time.monotonic()
        self._hit.kill_bird()
        eventually(lambda: self._hit.bird_pid != before and self._hit.bird_runs, LIMIT)
        return self._back(begun)

    def bird_hangs(self) -> dict[int, float]:
        """Stop BIRD without ending it; the agent replaces it."""
        before, begun = self._hit.bird_pid, time.monotonic()
        self._hit.stop_bird()
        eventually(lambda: self._hit.bird_pid != before and self._hit.bird_runs, LIMIT)
        return self._back(begun)

    def agent_killed(self) -> dict[int, float]:
        """Kill the agent; the time is that of a workload's creation without it."""
        agent = self._hit.agent
        assert agent is not None
        agent.kill()
        times = self._create()
        self._hit.start_agent()
        return times

    def etcd_away(self) -> dict[int, float]:
        """End etcd, kill a BIRD meanwhile, start etcd again; the time is until that host's
        sessions are up again, without etcd."""
        self.cloud.fabric.etcd.kill()
        times = self.bird_killed()
        self.cloud.fabric.start_etcd()
        self._create()
        return times

    def wrong_password(self) -> dict[int, float]:
        """Give one host another password, then the right one."""
        self.cloud.set_password(self._hit, "another")
        eventually(lambda: not self._hit.established(), LIMIT)
        self.cloud.set_password(self._hit, PASSWORD)
        return self._back(time.monotonic())

    def bad_filter(self) -> dict[int, float]:
        """Store a peer with a filter that cannot be used; other sessions must stay as they are."""
        since = self._hit.established()
        self._fresh += 1
        name = f"bad-{self._fresh}"
        spec = {"importV4": [{"action": "Accept", "cidr": "fd00::/8", "matchOperator": "In"}]}
        begun = time.monotonic()
        filter_ = {"kind": "BGPFilter", "metadata": {"name": name}, "spec": spec}
        self.cloud.fabric.put_raw(f"{PREFIX}/bgpfilters/{name}", json.dumps(filter_))
        peer = {"peerIP": "10.77.0.99", "asNumber": 65099, "filters": [name]}
        self.cloud.fabric.put("bgppeers", name, peer)

        def reported() -> bool:
            sessions = self._hit.status()["sessions"]
            return any(name in session["disabled"] for session in sessions)

        times = self._until(reported, begun)
        if self._hit.established() != since:
            raise SystemExit("a bad filter of one session has restarted another")
        for plural in ("bgppeers", "bgpfilters"):
            self.cloud.fabric.delete(plural, name)
        return times

    def collision(self) -> dict[int, float]:
        """Start a host that claims another's address; that one must lose nothing."""
        (claimant,) = self.cloud.fabric.add_hosts(1)
        since = self._hit.established()
        claimant.settings |= {"IP": f"{self._hit.ipv4}/24", "IP6": f"{self._hit.ipv6}/64"}
        begun = time.monotonic()
        claimant.start_agent()
        times = self._until(lambda: len(claimant.status()["registrationFaults"]) == 2, begun)
        time.sleep(3)
        if self._hit.established() != since:
            raise SystemExit("a colliding address has restarted a session")
        claimant.stop()
        return times

    def _create(self) -> dict[int, float]:
        self._fresh += 1
        end = self.cloud.plug(self._fresh, self._hit)
        others = [host for host in self.cloud.computes if host is not self._hit]
        times = self._observer.until(
            partial(self.cloud.bind, end), end.addresses, others, partial(self.cloud.leads_to, end)
        )
        self.cloud.unbind(end)
        return {family: max(values) for family, values in times.items()}

    def _back(self, begun: float) -> dict[int, float]:
        """Wait for the sessions of the host that was hit, those of each family apart."""
        wanted = {
            family: [
                session["name"]
                for session in self._hit.status()["sessions"]
                if session["family"] == family and not session["disabled"]
            ]
            for family in FAMILIES
        }
        times: dict[int, float] = {}
        while len(times) < len(FAMILIES):
            up = self._hit.established()
            for family, names in wanted.items():
                if family not in times and set(names) <= up.keys():
                    times[family] = time.monotonic() - begun
            if time.monotonic() > begun + 2 * LIMIT:
                raise SystemExit(f"sessions never came back: {sorted(up)} of {wanted}")
            time.sleep(0.02)
        return times

    def _until(self, reached: Callable[[], bool], begun: float) -> dict[int, float]:
        eventually(reached, LIMIT)
        elapsed = time.monotonic() - begun
        return dict.fromkeys(FAMILIES, elapsed)
