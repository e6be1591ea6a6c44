"""The command line of an agent that is configured by a file and the environment."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from calico_openstack import __version__
from calico_openstack.agent import log
from calico_openstack.agent.configuration import ConfigurationError, LocalSettings


class Options(Protocol):
    """What every agent is told about its log."""

    @property
    def log_severity(self) -> str:
        """The least severity that is logged."""

    @property
    def log_file(self) -> str:
        """The file that the log goes to besides the screen; empty for none."""


_Options = TypeVar("_Options", bound=Options)


@dataclass(frozen=True, slots=True)
class AgentCommand(Generic[_Options]):
    """A program that runs an agent, or with the flag *undo* takes back what one has left running.

    *read* raises ConfigurationError, ValueError or OSError for settings that cannot be used, *run*
    and *undone* ConfigurationError.
    """

    program: str
    description: str
    default_file: Path
    environment_prefix: str
    undo: str
    undo_help: str
    read: Callable[[LocalSettings], _Options]
    run: Callable[[_Options], int]
    undone: Callable[[_Options], None]

    def __call__(self, arguments: Sequence[str] | None = None) -> int:
        """Run the program; return its exit code, 1 for settings that cannot be used."""
        chosen = self._parser().parse_args(arguments)
        try:
            settings = LocalSettings.load(chosen.config_file, self.environment_prefix)
            options = self.read(settings)
            log.configure(
                self.program,
                log.LogSettings(
                    screen=options.log_severity,
                    file=options.log_severity,
                    file_path=options.log_file,
                ),
            )
        except (ConfigurationError, ValueError, OSError) as error:
            return self._refuse(error)
        try:
            if chosen.undo:
                self.undone(options)
                return 0
            return self.run(options)
        except ConfigurationError as error:
            return self._refuse(error)

    def _refuse(self, error: Exception) -> int:
        print(f"{self.program}: {error}", file=sys.stderr)
        return 1

    def _parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(prog=self.program, description=self.description)
        parser.add_argument(
            "-c",
            "--config-file",
            type=Path,
            default=self.default_file,
            metavar="FILE",
            help="configuration file (default: %(default)s)",
        )
        parser.add_argument(self.undo, dest="undo", action="store_true", help=self.undo_help)
        parser.add_argument("--version", action="version", version=f"{self.program} {__version__}")
        return parser
