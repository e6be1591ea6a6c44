"""A real Neutron for tests: MariaDB, migrations, the API under uWSGI, the driver's workers."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from calico_openstack.lab import neutron_config
from calico_openstack.lab.neutron_config import NeutronSettings, identity_headers
from tests.support.processes import Process, eventually, free_port

# Three seconds on an idle machine; importing Neutron is work for the processor.
_START_SECONDS = 300.0

Json = dict[str, Any]


def missing_programs() -> list[str]:
    """Return what must be installed for `NeutronServer` and is not."""
    programs = ("mariadbd", "mariadb-install-db", "mariadb", "etcd")
    missing = [name for name in programs if shutil.which(name) is None]
    missing += [name for name in ("uwsgi", "neutron-db-manage") if not _script(name).exists()]
    return missing


def _script(name: str) -> Path:
    return Path(sys.prefix, "bin", name)


class ApiError(AssertionError):
    """The API refused; ``status`` is the HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


@dataclass(frozen=True)
class Api:
    """The API as one caller sees it. ``create("port", ...)`` and so on return the object."""

    port: int
    headers: dict[str, str]

    def request(self, method: str, path: str, body: Json | None = None) -> Any:
        """Send a request below ``/v2.0``; return the decoded answer, None for an empty one."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        try:
            content = None if body is None else json.dumps(body)
            headers = {"Content-Type": "application/json", **self.headers}
            connection.request(method, f"/v2.0/{path}", content, headers)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        if response.status >= 300:
            raise ApiError(response.status, text)
        return json.loads(text) if text else None

    def create(self, kind: str, **attributes: Any) -> Json:
        """Create an object; colons in attributes' names are written as two underscores."""
        return self._one("POST", kind, _plural(kind), attributes)

    def update(self, kind: str, identity: str, **attributes: Any) -> Json:
        """Change an object."""
        return self._one("PUT", kind, f"{_plural(kind)}/{identity}", attributes)

    def show(self, kind: str, identity: str) -> Json:
        """Return an object."""
        result: Json = self.request("GET", f"{_plural(kind)}/{identity}")[kind]
        return result

    def list(self, kind: str, query: str = "") -> list[Json]:
        """Return objects that match a query string."""
        result: list[Json] = self.request("GET", f"{_plural(kind)}?{query}")[
            _plural(kind).replace("-", "_")
        ]
        return result

    def delete(self, kind: str, identity: str) -> None:
        """Delete an object."""
        self.request("DELETE", f"{_plural(kind)}/{identity}")

    def _one(self, method: str, kind: str, path: str, attributes: Json) -> Json:
        body = {kind: {name.replace("__", ":"): value for name, value in attributes.items()}}
        result: Json = self.request(method, path, body)[kind]
        return result


def _plural(kind: str) -> str:
    return kind.replace("_", "-") + "s"


@dataclass
class NeutronServer:
    """Neutron with its database, below one folder."""

    directory: Path
    etcd_endpoint: str
    options: tuple[tuple[str, str], ...] = ()
    nova_endpoint: str | None = None
    mechanism_drivers: tuple[str, ...] = NeutronSettings.mechanism_drivers
    service_plugins: tuple[str, ...] = NeutronSettings.service_plugins
    settings: NeutronSettings = field(init=False)
    database: Process | None = None
    api_process: Process | None = None
    workers: Process | None = None

    def __post_init__(self) -> None:
        self.settings = NeutronSettings(
            state_dir=self.directory,
            prefix=Path(sys.prefix),
            etcd_endpoints=(self.etcd_endpoint,),
            api_port=free_port(),
            calico_options=self.options,
            nova_notifications=self.nova_endpoint is not None,
            nova_endpoint=self.nova_endpoint,
            mechanism_drivers=self.mechanism_drivers,
            service_plugins=self.service_plugins,
        )

    def start(self) -> NeutronServer:
        """Start everything, from nothing; return self."""
        for folder in (self.settings.log_dir, self.directory / "lock"):
            folder.mkdir(parents=True)
        for path, text in neutron_config.config_files(self.settings).items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self._start_database()
        self._run(neutron_config.migration_command(self.settings))
        self.start_api()
        self.start_workers()
        return self

    def start_database(self) -> str:
        """Start an empty database only; return SQLAlchemy's URL of it."""
        self.settings.log_dir.mkdir(parents=True)
        self._start_database()
        return self.settings.database_url

    def sql_anywhere(self, statements: str) -> str:
        """Run statements in the database server."""
        return self._run(neutron_config.database_client_command(self.settings, statements))

    def stop(self) -> None:
        """Stop everything; nothing is kept."""
        for process in (self.workers, self.api_process, self.database):
            if process is not None:
                process.kill()

    def start_api(self) -> None:
        """Start the API and wait until it answers.

        The workers of one that was killed take a moment until they notice and end.
        """
        eventually(self._api_port_is_free, _START_SECONDS, "the end of the API's workers")
        self.api_process = Process(
            neutron_config.api_command(self.settings),
            log=self.settings.log_dir / "api.log",
            environment=neutron_config.api_environment(self.settings),
        )
        eventually(self._api_answers, _START_SECONDS, "an answer of the API")

    def start_workers(self) -> None:
        """Start the workers; they are at work a few seconds later."""
        self.workers = self.more_workers("workers.log")

    def more_workers(self, log: str) -> Process:
        """Start workers as another server would; the caller stops them."""
        return Process(
            neutron_config.workers_command(self.settings), log=self.settings.log_dir / log
        )

    def restart_workers(self) -> None:
        """Stop the workers and start them again."""
        assert self.workers is not None
        self.workers.stop()
        self.start_workers()

    def api(self, project: str = "admin", *roles: str) -> Api:
        """Return the API as a member of a project, or with other roles."""
        member = ("member", "reader")
        names = roles or (("admin", *member) if project == "admin" else member)
        return Api(self.settings.api_port, identity_headers(project, roles=names))

    def logs(self) -> str:
        """Return what the API and the workers logged."""
        texts = (p.output() for p in (self.api_process, self.workers) if p is not None)
        return "\n".join(texts)

    def sql(self, statement: str) -> str:
        """Run a statement in Neutron's database."""
        return self._run(
            neutron_config.database_client_command(
                self.settings, f"USE {neutron_config.DATABASE}; {statement}"
            )
        )

    def _start_database(self) -> None:
        self._run(neutron_config.database_install_command(self.settings))
        self.database = Process(
            neutron_config.database_command(self.settings),
            log=self.settings.log_dir / "database.log",
        )
        create = neutron_config.database_client_command(
            self.settings, neutron_config.create_database_sql()
        )
        eventually(
            lambda: subprocess.run(create, capture_output=True, check=False).returncode == 0,
            _START_SECONDS,
            "an answer of the database",
        )

    def _api_port_is_free(self) -> bool:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", self.settings.api_port))
            except OSError:
                return False
        return True

    def _api_answers(self) -> bool:
        try:
            self.api().list("network")
        except (OSError, http.client.HTTPException, ApiError):
            return False
        return True

    def _run(self, command: list[str]) -> str:
        result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        assert result.returncode == 0, result.stderr[-3000:]
        return result.stdout
