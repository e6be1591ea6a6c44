"""Faults that parameters ask for, so that it can be tested what notices them.

Upstream's parameters: both kinds of hang stop the one loop that there is here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Any, Final

from calico_openstack.agent.mainloop import MainLoop
from calico_openstack.felix.config import FelixSettings
from calico_openstack.felix.kernel.dataplane import Dataplane
from calico_openstack.felix.kernel.routes import RouteOwnership
from calico_openstack.felix.render.dataplane import DataplaneDelta, DesiredDataplane
from calico_openstack.felix.render.nft import Table

_log = logging.getLogger(__name__)

_A_LONG_TIME: Final = 3600.0


class SlowDataplane(Dataplane):
    """A dataplane that takes *delay* seconds longer for everything that it programs."""

    def __init__(
        self, tables: Iterable[Table], ownership: RouteOwnership, now: float, delay: float
    ) -> None:
        super().__init__(tables, ownership, now)
        self._delay = delay

    def apply(self, desired: DesiredDataplane, changed: DataplaneDelta, now: float) -> set[str]:
        """Do it later."""
        time.sleep(self._delay)
        return super().apply(desired, changed, now)


def make_dataplane(
    settings: FelixSettings, tables: Iterable[Table], ownership: RouteOwnership, now: float
) -> Dataplane:
    """Return the dataplane, a slow one if that is asked for."""
    delay = settings.debug_simulate_dataplane_apply_delay
    if delay:
        return SlowDataplane(tables, ownership, now, delay)
    return Dataplane(tables, ownership, now)


def arrange_hang(settings: FelixSettings, loop: MainLoop[Any]) -> None:
    """Have *loop* hang when its time has come, if that is asked for."""
    asked = (
        settings.debug_simulate_calc_graph_hang_after,
        settings.debug_simulate_dataplane_hang_after,
    )
    if seconds := min((each for each in asked if each), default=0.0):
        loop.after(seconds, _hang)


def _hang() -> None:
    _log.warning("Hanging, as a parameter asks")
    while True:
        time.sleep(_A_LONG_TIME)
