"""What is said to operators when a command fails, and what they can do about it. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

_UNKNOWN_COMMAND: Final = "No such command "


def of_usage(message: str, command: str, known: Collection[str]) -> str:
    """Return what is wrong with a command line; *known* are the names of commands."""
    if message.startswith(_UNKNOWN_COMMAND):
        import difflib  # noqa: PLC0415 - for this rare case alone

        wrong = message.removeprefix(_UNKNOWN_COMMAND).strip("'.")
        near = difflib.get_close_matches(wrong, known, n=1)
        if near:
            return f"{message} Did you mean '{near[0]}'?"
    return f"{message} See {command} --help."


def of_etcd(reason: str, file: str) -> str:
    """Return that etcd cannot be reached, by the *reason* that its client gives."""
    said = f"tell in {file} or by the variable ETCD_ENDPOINTS."
    if "[Errno" in reason:
        # The file of a certificate or key.
        return f"etcd cannot be reached: {reason}\nCorrect the file, or its path: {said}"
    return f"etcd cannot be reached: {reason}\nSee whether it runs there; where else it is, {said}"


def of_agent(program: str, host: str, reason: str, *, root: bool) -> str:
    """Return that an agent did not answer; *host* is "" for this one."""
    if host:
        return f"{program} of {host}: {reason}"
    if not root:
        return f"{program} of this host answers root only: sudo calicoctl show"
    if "does not run" in reason:
        return f"{reason}: start it (systemctl start {program}), or ask another host with --node"
    return f"{program} of this host: {reason}"


def unforeseen(error: Exception) -> str:
    """Return what is said about an error that nobody foresaw."""
    return (
        f"calicoctl failed: {type(error).__name__}: {error}\nThis should not happen: please report "
        "it, with what CALICOCTL_TRACEBACK=1 in the environment shows."
    )


def of_file(file: object, error: Exception) -> str:
    """Return why a file cannot be read."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"cannot read {file}: {reason}"
