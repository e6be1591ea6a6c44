"""The options by which logs are limited; upstream has them for ``cluster diags``."""

from __future__ import annotations

from typing import Final

import click

from calico_openstack.datamodel.durations import parse_duration


def _seconds(_context: click.Context, _parameter: click.Parameter, value: str) -> float:
    seconds = parse_duration(value)
    if seconds is None or seconds <= 0:
        raise click.BadParameter(f"'{value}' is no duration such as 30m or 2h")
    return seconds


SINCE: Final = click.option(
    "--since", default="2h", show_default=True, callback=_seconds, help="Logs of the last 30m, 2h."
)
MAX_LOGS: Final = click.option(
    "--max-logs",
    default=5,
    show_default=True,
    type=click.IntRange(0),
    help="At most so many files of logs, the newest.",
)
