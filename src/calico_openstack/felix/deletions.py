"""The brake on mass deletions, as part of the loop: it is fed, asked again, and speaks up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from calico_openstack.agent.log import fields
from calico_openstack.etcd import Batch, Update
from calico_openstack.felix.brake import COUNTED, BrakeSettings, MassDeletionBrake
from calico_openstack.felix.config import FelixSettings

_log = logging.getLogger(__name__)

_REMINDER: Final = 60.0


class DeletionGuard:
    """Passes on what may be acted upon, and what was held once it may be.

    *settings* are asked every time, as they may change; *tell* is called with the number of
    deletions that are held, whenever it has changed.
    """

    def __init__(
        self, settings: Callable[[], FelixSettings], tell: Callable[[int], object]
    ) -> None:
        self._settings = settings
        self._tell = tell
        self._brake = MassDeletionBrake()
        self._told = 0
        self._next_reminder = 0.0

    @property
    def waiting(self) -> bool:
        """Whether `admit` should be called again in a moment though nothing came."""
        return self._brake.waiting

    def admit(
        self, batches: Iterable[Batch], sizes: Mapping[str, int], now: float
    ) -> Sequence[Update]:
        """Return the updates to act upon; *sizes* is how many keys etcd has of each prefix."""
        running = self._settings()
        settings = BrakeSettings(running.mass_deletion_hold_percent, running.mass_deletion_hold)
        left = {kind: sizes.get(prefix, 0) for kind, prefix in COUNTED.items()}
        admitted: list[Update] = []
        for batch in batches:
            admitted += self._brake.take(batch.updates, left, settings, now)
        if self._brake.waiting:
            admitted += self._brake.release(left, settings, now)
        self._speak(now)
        return admitted

    def _speak(self, now: float) -> None:
        held = self._brake.held
        if held and (held > self._told or now >= self._next_reminder):
            self._next_reminder = now + _REMINDER
            _log.error(
                "Most of the cluster was deleted at once; held until it is restored or confirmed",
                extra=fields(deletions=held, confirm="MassDeletionHoldPercent=0"),
            )
        elif self._told and not held:
            _log.warning("No deletion is held any more")
        if held != self._told:
            self._tell(held)
        self._told = held
