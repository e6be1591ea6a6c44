"""The configuration of a Neutron without message queue, with or without Keystone, as texts.

Neutron 29 as operators run it (API under uWSGI, ``neutron-periodic-workers``,
MariaDB), reduced to what one machine needs. Everything here is a function from
:class:`NeutronSettings` to text or to an argument list; nothing is read or
written, so the lab and the tests start the same server.

Choices that are not obvious:

* Without Keystone, who calls is taken from the headers ``X-User-Id``, ``X-Project-Id`` and
  ``X-Roles`` (filter ``keystonecontext``), not from Neutron's stock ``noauth``
  filter: with that one everybody is an administrator.
* ``transport_url = fake://`` and no RPC workers: nothing here speaks RPC, since
  the agents report through etcd.
* MariaDB listens on a Unix socket only, so it is reached from any network
  namespace and takes no port.
* With Keystone (``keystone``), who calls is what Keystone says of the token, and Nova is told of
  ports where Keystone's catalogue names it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from calico_openstack.lab import wsgi
from calico_openstack.lab.ini import section, sections
from calico_openstack.lab.keystone_access import REGION, KeystoneAccess
from calico_openstack.lab.mariadb import database_url
from calico_openstack.lab.wsgi import tcp_address

NEUTRON_CONF = "neutron.conf"
ML2_CONF = "ml2_conf.ini"
API_PASTE = "api-paste.ini"
UWSGI_CONF = "uwsgi.ini"

DATABASE = "neutron"


@dataclass(frozen=True, kw_only=True)
class NeutronSettings:
    """What distinguishes one Neutron instance from another.

    ``state_dir`` holds everything: configuration below ``etc``, logs below
    ``log``, MariaDB's files below ``db``. ``prefix`` is the Python environment in
    which Neutron is installed. ``api_socket`` is a Unix socket on which the API
    listens too. ``identity_filter`` names a Paste filter factory that supplies the
    caller's identity where no headers do. ``nova_endpoint`` is the address of a Nova that is told
    of ports without asking Keystone; ``keystone`` is asked who calls, and where Nova is. Times are
    in seconds.
    """

    state_dir: Path
    prefix: Path
    etcd_endpoints: tuple[str, ...]
    api_host: str = "127.0.0.1"
    api_port: int = 9696
    api_socket: Path | None = None
    identity_filter: str | None = None
    api_processes: int = 2
    api_threads: int = 4
    host: str = "controller"
    region: str | None = None
    mechanism_drivers: tuple[str, ...] = ("calico",)
    extension_drivers: tuple[str, ...] = ("port_security", "qos", "dns")
    service_plugins: tuple[str, ...] = ("revisions", "qos", "log", "calico_router")
    agent_down_time: int = 75
    nova_notifications: bool = False
    nova_endpoint: str | None = None
    keystone: KeystoneAccess | None = None
    debug: bool = False
    calico_options: tuple[tuple[str, str], ...] = ()

    @property
    def config_dir(self) -> Path:
        """The folder of the configuration files."""
        return self.state_dir / "etc"

    @property
    def log_dir(self) -> Path:
        """The folder of the log files."""
        return self.state_dir / "log"

    @property
    def database_dir(self) -> Path:
        """MariaDB's data folder."""
        return self.state_dir / "db"

    @property
    def database_socket(self) -> Path:
        """The Unix socket on which MariaDB listens."""
        return self.state_dir / "db.sock"

    @property
    def database_url(self) -> str:
        """SQLAlchemy's address of Neutron's database."""
        return database_url(self.database_socket, DATABASE)

    @property
    def api_url(self) -> str:
        """The root address of the API, without ``/v2.0``."""
        host = f"[{self.api_host}]" if ":" in self.api_host else self.api_host
        return f"http://{host}:{self.api_port}"


def _auth_strategy(settings: NeutronSettings) -> str:
    return "keystone" if settings.keystone else "noauth"


def neutron_conf(settings: NeutronSettings) -> str:
    """Return the text of ``neutron.conf``."""
    default = {
        "core_plugin": "ml2",
        "service_plugins": settings.service_plugins,
        "auth_strategy": _auth_strategy(settings),
        "transport_url": "fake://",
        "rpc_workers": 0,
        "rpc_state_report_workers": 0,
        "dhcp_agent_notification": False,
        "notify_nova_on_port_status_changes": settings.nova_notifications,
        "notify_nova_on_port_data_changes": settings.nova_notifications,
        "host": settings.host,
        "state_path": settings.state_dir,
        "api_paste_config": settings.config_dir / API_PASTE,
        "agent_down_time": settings.agent_down_time,
        "debug": settings.debug,
    }
    calico: dict[str, object] = {"etcd_endpoints": settings.etcd_endpoints}
    if settings.region is not None:
        calico["openstack_region"] = settings.region
    calico.update(settings.calico_options)
    unlimited = ("port", "network", "subnet", "security_group", "security_group_rule")
    return "\n".join(
        (
            section("DEFAULT", default),
            section("database", {"connection": settings.database_url}),
            section("oslo_concurrency", {"lock_path": settings.state_dir / "lock"}),
            section("oslo_messaging_notifications", {"driver": "noop"}),
            section("quotas", {f"quota_{resource}": -1 for resource in unlimited}),
            section("calico", calico),
            *_peers(settings),
        )
    )


def _peers(settings: NeutronSettings) -> list[str]:
    """Return the sections that say where Keystone and Nova are."""
    if settings.keystone is not None:
        nova = {**settings.keystone.credentials("neutron"), "region_name": REGION}
        validation = settings.keystone.validation("neutron")
        return [section("keystone_authtoken", validation), section("nova", nova)]
    if settings.nova_endpoint is not None:
        return [section("nova", {"auth_type": "none", "endpoint": settings.nova_endpoint})]
    return []


def ml2_conf(settings: NeutronSettings) -> str:
    """Return the text of ``ml2_conf.ini``: networks of type local and flat."""
    return "\n".join(
        (
            section(
                "ml2",
                {
                    "type_drivers": ("local", "flat"),
                    "project_network_types": ("local",),
                    "mechanism_drivers": settings.mechanism_drivers,
                    "extension_drivers": settings.extension_drivers,
                },
            ),
            section("ml2_type_flat", {"flat_networks": "*"}),
            section("securitygroup", {"enable_security_group": True}),
        )
    )


def api_paste(settings: NeutronSettings) -> str:
    """Return the text of ``api-paste.ini``, with the caller's identity from headers."""
    filters = {
        "http_proxy_to_wsgi": "oslo_middleware.http_proxy_to_wsgi:HTTPProxyToWSGI.factory",
        "request_id": "oslo_middleware:RequestId.factory",
        "catch_errors": "oslo_middleware:CatchErrors.factory",
        "identity": "neutron.auth:NeutronKeystoneContext.factory",
        "extensions": "neutron.api.extensions:plugin_aware_extension_middleware_factory",
    }
    supplied = ""
    if settings.identity_filter is not None:
        supplied = "caller "
        filters["caller"] = settings.identity_filter
    pipeline = f"http_proxy_to_wsgi request_id catch_errors {supplied}identity extensions api"
    by_strategy = {"use": "call:neutron.auth:pipeline_factory"}
    strategy = _auth_strategy(settings)
    content: dict[str, Mapping[str, object]] = {
        "composite:neutron": {"use": "egg:Paste#urlmap", "/": "versions", "/v2.0": "v2_0"},
        "composite:v2_0": {**by_strategy, strategy: pipeline},
        "composite:versions": {**by_strategy, strategy: "http_proxy_to_wsgi version_list"},
        "app:version_list": {"paste.app_factory": "neutron.pecan_wsgi.app:versions_factory"},
        "app:api": {"paste.app_factory": "neutron.api.v2.router:APIRouter.factory"},
    }
    for name, factory in filters.items():
        content[f"filter:{name}"] = {"paste.filter_factory": factory}
    return sections(content)


def uwsgi_conf(settings: NeutronSettings) -> str:
    """Return the text of ``uwsgi.ini`` for the API."""
    listen = [tcp_address(settings.api_host, settings.api_port)]
    if settings.api_socket:
        listen.append(str(settings.api_socket))
    return wsgi.uwsgi_conf(
        name="neutron-api",
        module="neutron.wsgi.api:application",
        listen=listen,
        prefix=settings.prefix,
        processes=settings.api_processes,
        threads=settings.api_threads,
    )


def config_files(settings: NeutronSettings) -> dict[Path, str]:
    """Return every configuration file: path to text."""
    folder = settings.config_dir
    return {
        folder / NEUTRON_CONF: neutron_conf(settings),
        folder / ML2_CONF: ml2_conf(settings),
        folder / API_PASTE: api_paste(settings),
        folder / UWSGI_CONF: uwsgi_conf(settings),
    }


def _config_arguments(settings: NeutronSettings) -> list[str]:
    folder = settings.config_dir
    return ["--config-file", str(folder / NEUTRON_CONF), "--config-file", str(folder / ML2_CONF)]


def api_command(settings: NeutronSettings) -> list[str]:
    """Return the command of the API server; needs :func:`api_environment`."""
    return [str(settings.prefix / "bin/uwsgi"), "--ini", str(settings.config_dir / UWSGI_CONF)]


def api_environment(settings: NeutronSettings) -> dict[str, str]:
    """Return the environment variables through which the WSGI module is configured."""
    return {
        "OS_NEUTRON_CONFIG_DIR": str(settings.config_dir),
        "OS_NEUTRON_CONFIG_FILES": f"{NEUTRON_CONF};{ML2_CONF}",
        # A crash leaves the stacks of all threads in the log.
        "PYTHONFAULTHANDLER": "1",
    }


def workers_command(settings: NeutronSettings) -> list[str]:
    """Return the command of the process that runs the mechanism drivers' workers."""
    return [
        str(settings.prefix / "bin/neutron-periodic-workers"),
        *_config_arguments(settings),
    ]


def migration_command(settings: NeutronSettings) -> list[str]:
    """Return the command that brings the database to the current schema."""
    return [
        str(settings.prefix / "bin/neutron-db-manage"),
        *_config_arguments(settings),
        "upgrade",
        "heads",
    ]


def database_install_command(settings: NeutronSettings) -> list[str]:
    """Return the command that creates MariaDB's data folder."""
    return [
        "mariadb-install-db",
        "--no-defaults",
        "--user=root",
        f"--datadir={settings.database_dir}",
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
    ]


def database_command(settings: NeutronSettings) -> list[str]:
    """Return the command of the database server.

    The database is a throw-away, hence a commit does not wait for the disk.
    """
    return [
        "mariadbd",
        "--no-defaults",
        "--user=root",
        f"--datadir={settings.database_dir}",
        f"--socket={settings.database_socket}",
        f"--pid-file={settings.state_dir / 'db.pid'}",
        "--skip-networking",
        "--innodb-flush-log-at-trx-commit=0",
        "--skip-log-bin",
        "--max-connections=500",
    ]


def database_client_command(settings: NeutronSettings, sql: str) -> list[str]:
    """Return a command that runs ``sql``; it fails while the server is not ready."""
    return [
        "mariadb",
        "--no-defaults",
        f"--socket={settings.database_socket}",
        "--user=root",
        "--batch",
        "--execute",
        sql,
    ]


def create_database_sql() -> str:
    """Return the statement that creates Neutron's empty database."""
    return f"CREATE DATABASE IF NOT EXISTS {DATABASE} CHARACTER SET utf8mb3"


def identity_headers(
    project: str, *, user: str = "user", roles: tuple[str, ...] = ("member", "reader")
) -> dict[str, str]:
    """Return the headers that tell the API who calls.

    ``roles`` containing ``admin`` makes the caller an administrator.
    """
    return {"X-User-Id": user, "X-Project-Id": project, "X-Roles": ",".join(roles)}
