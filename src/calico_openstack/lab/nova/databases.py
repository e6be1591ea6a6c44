"""The databases of Keystone, Placement, Glance and Nova: schemas by the services' own migrations.

They share MariaDB with Neutron. Like Neutron's, the migrated databases are kept as a dump, with
what was registered in Keystone: the migrations take most of a first start, and their result
depends on nothing but versions.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

from calico_openstack.lab import database
from calico_openstack.lab.neutron_config import NeutronSettings
from calico_openstack.lab.nova.configuration import DATABASES, NovaCloud
from calico_openstack.lab.settings import Lab

MIGRATION_TIMEOUT = 300.0
# Whatever changes what a dump holds beside the versions: who is registered, and how.
_LAYOUT = "1"
_PROJECTS = ("keystone", "openstack-placement", "glance", "nova")
# The cells name databases and the message bus by what Nova's configuration says, so that the same
# content serves every lab (nova.objects.cell_mapping has the names).
_CELL0 = "mysql+pymysql://root@localhost/nova_cell0?{query}"
_CELL1 = "mysql+pymysql://root@localhost/{path}?{query}"
_CELL_BUS = "{scheme}://{username}:{password}@{hostname}:{port}/"


def cached_dump(lab: Lab) -> Path:
    """Where the databases of exactly these versions are kept."""
    return database.dump_file(lab, "nova", [_LAYOUT, *(f"{p} {version(p)}" for p in _PROJECTS)])


def restore(lab: Lab, settings: NeutronSettings, source: Path) -> None:
    """Fill the server from a dump. Raises CommandError."""
    database.restore(lab, settings, source)


def dump(lab: Lab, settings: NeutronSettings, target: Path) -> None:
    """Write all databases to a file. Raises CommandError."""
    database.dump(lab, settings, target, DATABASES)


def migrate(lab: Lab, settings: NeutronSettings, cloud: NovaCloud) -> None:
    """Create all databases by their migrations, and Nova's cells. Raises CommandError."""
    for name in DATABASES:
        database.create(lab, settings, name)
    with ThreadPoolExecutor(max_workers=2) as pool:
        for future in [pool.submit(_run_all, lab, steps) for steps in _migrations(cloud)]:
            future.result()


def _run_all(lab: Lab, commands: Sequence[list[str]]) -> None:
    for command in commands:
        database.execute(lab, command, timeout=MIGRATION_TIMEOUT)


def _migrations(cloud: NovaCloud) -> Iterator[Sequence[list[str]]]:
    """Sequences of commands that do not depend on each other, the longest first."""

    def manage(service: str, file: str, *arguments: str) -> list[str]:
        program = cloud.prefix / "bin" / f"{service}-manage"
        path = cloud.configuration_folder(service) / file
        return [str(program), "--config-file", str(path), *arguments]

    nova = [
        ["api_db", "sync"],
        ["cell_v2", "map_cell0", "--database_connection", _CELL0],
        ["db", "sync"],
        [
            *("cell_v2", "create_cell", "--name", "cell1"),
            *("--database_connection", _CELL1, "--transport-url", _CELL_BUS),
        ],
    ]
    yield [manage("nova", "nova.conf", *arguments) for arguments in nova]
    yield [manage("keystone", "keystone.conf", "db_sync")]
    yield [manage("glance", "glance-api.conf", "db_sync")]
    yield [manage("placement", "placement.conf", "db", "sync")]
