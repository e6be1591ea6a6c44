"""Running a command of the system, with its own words as the reason when it fails."""

import subprocess
from collections.abc import Mapping, Sequence


class CommandError(Exception):
    """A command failed, could not be started or took too long."""


def run(
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 60.0,
) -> str:
    """Run a command and return what it wrote to its standard output.

    Raises CommandError with the command and the last lines that it wrote.
    """
    try:
        done = subprocess.run(
            list(argv),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            env=None if env is None else dict(env),
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise CommandError(f"{argv[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{' '.join(argv)}: no end after {timeout:g} s") from error
    if done.returncode != 0:
        words = (done.stderr.strip() or done.stdout.strip()).splitlines()[-5:]
        reason = " / ".join(words) or f"exit status {done.returncode}"
        raise CommandError(f"{' '.join(argv)}: {reason}")
    return done.stdout
