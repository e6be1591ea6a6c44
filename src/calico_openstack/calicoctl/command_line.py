"""What the commands share: options, the connection, how results and failures are told."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeVar

import click

from calico_openstack.calicoctl import failures, naming
from calico_openstack.calicoctl.connection import DEFAULT_FILE, connection_config
from calico_openstack.calicoctl.store import Store, StoreError
from calico_openstack.etcd import EtcdClient, EtcdConfig, EtcdError, EtcdUnavailable

FILE: Final = click.option(
    "-f", "--filename", required=True, help="File, directory, or - for standard input."
)
RECURSIVE: Final = click.option("-R", "--recursive", is_flag=True, help="Sub-directories too.")
CONFIG: Final = click.option(
    "-c", "--config", default=DEFAULT_FILE, show_default=True, help="Connection file."
)
NAMESPACE: Final = click.option("-n", "--namespace", default="", help="Namespace (default).")


Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def _set_naming(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    # Behind a command it is only heard if it is said; in front of one there is a default.
    if value or context.parent is None:
        naming.set_naming(naming.Naming(value or "names"))


def as_option(envvar: str | None = None) -> Callable[[Decorated], Decorated]:
    """Return the option that says what things of Neutron are called."""
    return click.option(
        "--as",
        "called",
        type=click.Choice([each.value for each in naming.Naming]),
        envvar=envvar,
        expose_value=False,
        callback=_set_naming,
        help="Call ports, groups, networks, projects so (names; or the variable CALICOCTL_AS).",
    )


AS: Final = as_option()
_clients: Final[dict[EtcdConfig, EtcdClient]] = {}

_PAST: Final = {
    "create": "created",
    "apply": "applied",
    "replace": "replaced",
    "delete": "deleted",
    "validate": "validated",
    "patch": "patched",
}


class Commands(click.Group):
    """A group whose commands are imported when they are used, so that each starts quickly.

    *lazy* holds for each name the module within this package and what it is called there.
    """

    def __init__(self, *, lazy: dict[str, tuple[str, str]], **attributes: Any) -> None:
        super().__init__(**attributes)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names in order."""
        return sorted({*super().list_commands(ctx), *self._lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, imported now if it was not yet."""
        place = self._lazy.get(cmd_name)
        if place is None:
            return super().get_command(ctx, cmd_name)
        module = importlib.import_module(f"calico_openstack.calicoctl.{place[0]}")
        found: click.Command = getattr(module, place[1])
        return found

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; every foreseeable failure is one message and exit status 1."""
        try:
            return super().invoke(ctx)
        except EtcdUnavailable as error:
            fail(failures.of_etcd(str(error), DEFAULT_FILE))
        except (EtcdError, StoreError, ValueError) as error:
            # ValueError: a document, a kind or the connection's configuration is not usable.
            fail(str(error))


def note(message: str) -> None:
    """Tell people at a terminal what goes on; programs are not bothered with it."""
    if sys.stderr.isatty():
        click.echo(message, err=True)


def fail(message: str) -> NoReturn:
    """Say what went wrong and end the command."""
    click.echo(message, err=True)
    sys.exit(1)


def open_client(config: str) -> EtcdClient:
    """Return the client of the configured etcd, which lives as long as the command runs.

    One that nobody holds any more would be closed, over which the library takes 0.2 seconds.
    """
    found = connection_config(config, os.environ)
    client = _clients.get(found)
    if client is None:
        client = _clients[found] = EtcdClient(found)
    return client


def open_store(config: str) -> Store:
    """Return the configured datastore."""
    return Store(open_client(config), lambda line: click.echo(line, err=True))


def tell(verb: str, done: int, kinds: set[str], errors: list[str]) -> None:
    """Say how many resources *verb* was done for, and fail if there are *errors*."""
    kind = f" '{next(iter(kinds))}'" if len(kinds) == 1 else ""
    if not errors and not done:
        click.echo("No resources specified")
        return
    if not errors:
        click.echo(f"Successfully {_PAST[verb]} {done}{kind} resource(s)")
        return
    listed = f"[{' '.join(errors)}]"
    if done:
        click.echo(f"Partial success: {_PAST[verb]} {done}{kind} resource(s)")
        fail(f"hit error: {listed}")
    fail(f"failed to {verb}{kind} resource: {listed}")
