"""Neutron's database in the lab: MariaDB in a folder of its own, with the real migrations.

The migrations take most of the time that a cold start needs, and their result depends on nothing
but the versions of what is involved. It is kept as a dump under a name made from those versions.
"""

import hashlib
import importlib.util
from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path

from calico_openstack.lab import neutron_config
from calico_openstack.lab.commands import CommandError, run
from calico_openstack.lab.namespaces import inside, inside_host
from calico_openstack.lab.neutron_config import NeutronSettings
from calico_openstack.lab.processes import ProcessSpec
from calico_openstack.lab.settings import Lab

MIGRATIONS_GROUP = "neutron.db.alembic_migrations"
INSTALL_TIMEOUT = 120.0
MIGRATION_TIMEOUT = 300.0


def process(lab: Lab, settings: NeutronSettings) -> ProcessSpec:
    """MariaDB on the controller."""
    command = neutron_config.database_command(settings)
    return ProcessSpec(
        name="mariadb",
        host="controller",
        argv=tuple(inside_host(lab.namespace("controller"), "controller", command)),
        log=str(lab.log_file("mariadb")),
    )


def install(lab: Lab, settings: NeutronSettings) -> None:
    """Create MariaDB's data folder, unless it is there. Raises CommandError."""
    if (settings.database_dir / "mysql").is_dir():
        return
    execute(lab, neutron_config.database_install_command(settings), timeout=INSTALL_TIMEOUT)


def is_ready(lab: Lab, settings: NeutronSettings) -> bool:
    """Whether MariaDB answers."""
    try:
        execute(lab, neutron_config.database_client_command(settings, "SELECT 1"), timeout=10.0)
    except CommandError:
        return False
    return True


def create(lab: Lab, settings: NeutronSettings, name: str) -> None:
    """Create an empty database, unless it is there. Raises CommandError."""
    sql = f"CREATE DATABASE IF NOT EXISTS {name} CHARACTER SET utf8mb3"
    execute(lab, neutron_config.database_client_command(settings, sql))


def migrate(lab: Lab, settings: NeutronSettings) -> None:
    """Create Neutron's database by its migrations. Raises CommandError."""
    sql = neutron_config.create_database_sql()
    execute(lab, neutron_config.database_client_command(settings, sql))
    execute(lab, neutron_config.migration_command(settings), timeout=MIGRATION_TIMEOUT)


def dump(
    lab: Lab,
    settings: NeutronSettings,
    target: Path,
    databases: Sequence[str] = (neutron_config.DATABASE,),
) -> None:
    """Write whole databases to a file, which replaces those of other versions.

    `target` is a name like `cached_dump` makes it. Raises CommandError.
    """
    text = execute(lab, [*_tool("mariadb-dump", settings), "--databases", *databases])
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(".new")
    temporary.write_text(text)
    kind = target.name.partition("-")[0]
    for outdated in target.parent.glob(f"{kind}-*.sql"):
        outdated.unlink()
    temporary.rename(target)


def restore(lab: Lab, settings: NeutronSettings, source: Path) -> None:
    """Fill the server from a dump. Raises CommandError."""
    execute(lab, _tool("mariadb", settings), stdin=source.read_text(), timeout=INSTALL_TIMEOUT)


def cached_dump(lab: Lab) -> Path:
    """Where the migrated database of exactly these versions is kept."""
    points = entry_points(group=MIGRATIONS_GROUP)
    parts = [
        f"neutron {version('neutron')}",
        *(f"{point.name} {_folder_digest(_scripts(point))}" for point in points),
    ]
    return dump_file(lab, "neutron", parts)


def dump_file(lab: Lab, kind: str, parts: Iterable[str]) -> Path:
    """Where a dump is kept whose content depends on `parts`, and on MariaDB's version."""
    server = run(["mariadbd", "--no-defaults", "--version"]).strip()
    return lab.cache / f"{kind}-{cache_key([server, *parts])}.sql"


def cache_key(parts: Iterable[str]) -> str:
    """A short name for a set of versions, whatever their order."""
    return hashlib.sha256("\n".join(sorted(parts)).encode()).hexdigest()[:20]


def execute(
    lab: Lab, command: list[str], *, stdin: str | None = None, timeout: float = 60.0
) -> str:
    """Run a command on the controller: `down` finds it there when its caller was killed."""
    return run(inside(lab.namespace("controller"), command), stdin=stdin, timeout=timeout)


def _tool(name: str, settings: NeutronSettings) -> list[str]:
    return [name, "--no-defaults", f"--socket={settings.database_socket}", "--user=root"]


def _scripts(point: EntryPoint) -> Path:
    """The folder of a project's migrations, found without importing the project."""
    top, *rest = point.module.split(".")
    spec = importlib.util.find_spec(top)
    if spec is None or not spec.submodule_search_locations:
        raise CommandError(f"the package {top} of the migrations {point.name} is not installed")
    return Path(spec.submodule_search_locations[0], *rest, *point.attr.split("."))


def _folder_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in {"", ".py"}:
            digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
