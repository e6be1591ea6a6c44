"""Names of projects, from Keystone: operators' policies may select them.

They are an addition that nothing waits for in vain: what Keystone does not tell in time is left
out, and what it told before counts until it tells something else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from keystoneauth1 import loading
from oslo_config import cfg
from oslo_log import log

LOG = log.getLogger(__name__)

_SECTION = "keystone_authtoken"
_TIMEOUT_SECONDS = 3.0
_FRESH_SECONDS = 600.0
# After a failure Keystone is left alone for a while, so that requests are not held up each time.
_PAUSE_SECONDS = 30.0
# More projects than this are asked for all at once.
_ONE_BY_ONE = 5


@dataclass(frozen=True, slots=True)
class Project:
    """A project's name, and the id of its parent or domain."""

    name: str
    parent_id: str


Fetch = Callable[[Collection[str]], dict[str, Project]]
"""Returns projects by id, maybe more than asked for; raises where Keystone does not answer."""


@dataclass(slots=True)
class ProjectNames:
    """A cache of projects, to be shared between threads."""

    fetch: Fetch
    clock: Callable[[], float] = time.monotonic
    _known: dict[str, tuple[float, Project | None]] = field(default_factory=dict)
    _paused_until: float = float("-inf")
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def look_up(self, ids: Collection[str]) -> dict[str, Project]:
        """Return those projects that Keystone knows; never raises."""
        now = self.clock()
        with self._lock:
            stale = {
                project_id
                for project_id in ids
                if project_id not in self._known or self._known[project_id][0] < now
            }
            ask = bool(stale) and now >= self._paused_until
        if ask:
            self._refresh(stale)
        with self._lock:
            known = {project_id: self._known.get(project_id) for project_id in ids}
        return {
            project_id: entry[1]
            for project_id, entry in known.items()
            if entry is not None and entry[1] is not None
        }

    def _refresh(self, ids: Collection[str]) -> None:
        try:
            found = self.fetch(ids)
        except Exception as error:
            # Keystone's client raises many kinds; none of them may cost a port its network.
            LOG.warning("Keystone does not tell the names of projects: %s", error)
            with self._lock:
                self._paused_until = self.clock() + _PAUSE_SECONDS
            return
        until = self.clock() + _FRESH_SECONDS
        with self._lock:
            for project_id in (*ids, *found):
                self._known[project_id] = (until, found.get(project_id))


def no_projects(_ids: Collection[str]) -> dict[str, Project]:
    """Know no project: what a cloud without Keystone knows."""
    return {}


class Keystone:
    """Asks Keystone with the credentials with which Neutron checks tokens.

    It connects when it is first used, in the process that uses it.
    """

    def __init__(self, config_files: Collection[str]) -> None:
        self._config_files = list(config_files)
        self._session: Any = None
        self._endpoint = ""

    def __call__(self, ids: Collection[str]) -> dict[str, Project]:
        """Return projects by id."""
        if self._session is None and not self._connect():
            return {}
        if len(ids) > _ONE_BY_ONE:
            found = self._get("/projects")["projects"]
        else:
            answers = (self._get(f"/projects/{project_id}") for project_id in ids)
            found = [answer["project"] for answer in answers if answer]
        return {
            project["id"]: Project(project["name"], project.get("parent_id") or "")
            for project in found
        }

    def _connect(self) -> bool:
        # Options of its own: the section is registered by Keystone's middleware in some processes
        # and not in others.
        conf = cfg.ConfigOpts()
        loading.register_auth_conf_options(conf, _SECTION)
        loading.register_session_conf_options(conf, _SECTION)
        conf([], default_config_files=self._config_files)
        if not conf[_SECTION].auth_type:
            return False
        auth = loading.load_auth_from_conf_options(conf, _SECTION)
        session = loading.load_session_from_conf_options(conf, _SECTION, auth=auth)
        session.timeout = session.timeout or _TIMEOUT_SECONDS
        endpoint = session.get_endpoint(service_type="identity", interface="public") or ""
        self._endpoint = endpoint.rstrip("/").removesuffix("/v3") + "/v3"
        self._session = session
        return True

    def _get(self, path: str) -> Any:
        response = self._session.get(self._endpoint + path, raise_exc=False)
        if response.status_code == 404:
            return None
        response.raise_for_status()
        return response.json()
