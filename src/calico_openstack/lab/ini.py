"""Configuration files as oslo.config, Paste, uWSGI and our agents read them, as texts. Pure."""

from collections.abc import Mapping


def section(name: str, options: Mapping[str, object]) -> str:
    """A section with its options. A tuple becomes a list with commas, a truth value a word."""
    lines = [f"[{name}]", *(f"{key} = {_text(value)}".rstrip() for key, value in options.items())]
    return "\n".join(lines) + "\n"


def sections(content: Mapping[str, Mapping[str, object]]) -> str:
    """A file: the sections by their names."""
    return "\n".join(section(name, options) for name, options in content.items())


def _text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value)
