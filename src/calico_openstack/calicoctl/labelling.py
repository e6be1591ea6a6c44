"""What setting and removing labels does to the labels that are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple


class LabelError(ValueError):
    """A label that cannot be set or removed; the text says why and what to do."""


class LabelChange(NamedTuple):
    """A label and its wanted value, None to remove it; *past* says afterwards what was done."""

    key: str
    value: str | None
    past: str = ""


def parse_changes(arguments: Iterable[str], *, remove: bool) -> list[LabelChange]:
    """Return the changes that the operator asked for; raises `LabelError`."""
    result = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if remove and equals:
            raise LabelError(f"--remove takes only the key of a label: {key} instead of {argument}")
        if not key or not (remove or equals):
            raise LabelError(f"'{argument}' is not a label: write key=value")
        result.append(LabelChange(key, None if remove else value))
    return result


def changed_labels(
    labels: Mapping[str, str], changes: Iterable[LabelChange], *, overwrite: bool
) -> tuple[dict[str, str], list[LabelChange]]:
    """Return the labels after *changes*, and the changes with what each did.

    Raises `LabelError` when one of them cannot be made: then none is.
    """
    result, told = dict(labels), []
    for change in changes:
        present = result.get(change.key)
        if change.value is None:
            if present is None:
                raise LabelError(f"cannot remove label {change.key}: it does not exist")
            del result[change.key]
            told.append(change._replace(past="removed"))
            continue
        if present is not None and present != change.value and not overwrite:
            raise LabelError(
                f"failed to update label: key {change.key} is already present with value "
                f"{present}; use --overwrite to change it"
            )
        result[change.key] = change.value
        told.append(change._replace(past="set" if present is None else "updated"))
    return result, told
