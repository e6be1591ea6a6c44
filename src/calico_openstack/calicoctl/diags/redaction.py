"""Takes secrets out of text before it leaves a host. Pure.

Understood are INI (``password = x``), YAML and JSON members, BIRD's ``password "x"``, options of
command lines (``--password x``), credentials in URLs, headers of HTTP and PEM private keys. What
looks like a secret is taken out although it may be none.
"""

from __future__ import annotations

import re
from typing import Final

REDACTED: Final = "REDACTED"

# Names of settings whose values are secret; paths of files (..._file) are not.
_NAME: Final = (
    r"(?<![\w.-])[\w.-]*(?:pass(?:word|wd|phrase)|secret|token|credential|transport_url|"
    r"private_key|auth_key|(?:slave_)?connection(?=[\"'\\]?[ \t]*[:=]))[\w.-]*"
)
_HARMLESS: Final = re.compile(r"(?:file|path|dir|directory|name|type|timeout|expiration)$", re.I)
# To the end of the line, as no quotes bound a value in INI.
_SETTING: Final = re.compile(
    rf"(?P<before>(?P<name>{_NAME})[ \t]*=[ \t]*)(?P<value>\S[^\n]*)", re.I
)
_MEMBER: Final = re.compile(
    rf"""(?P<before>(?:\\?["'])?(?P<name>{_NAME})(?:\\?["'])?[ \t]*:[ \t]*)"""
    r"(?P<value>"
    r'"(?:[^"\\]|\\.)*"'
    # JSON within JSON: each quote has a backslash, each quote within a text three.
    r'|\\"(?:[^"\\]|\\\\\\"|\\\\.)*\\"'
    r"|'(?:[^']|'')*'"
    # A block of YAML goes on in the lines that are indented.
    r"|[|>][-+0-9]*[ \t]*\n(?:[ \t]+[^\n]*(?:\n|\Z)|[ \t]*\n)*"
    r"|[^\s{\[\"'\\|>][^\n]*)",
    re.I | re.S,
)
_BIRD: Final = re.compile(r'(\bpassword\s+)"[^"\n]*"')
_OPTION: Final = re.compile(r"(--[\w-]*(?:password|secret|token)[\w-]*[ =])\S+", re.I)
_URL: Final = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/'\"]+@", re.I)
_HEADER: Final = re.compile(r"((?:authorization|x-[\w-]*token)\s*:\s*)[^\n'\"]+", re.I)
_PEM: Final = re.compile(
    r"(-----BEGIN [A-Z ]*PRIVATE KEY-----).*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S
)


def redacted(text: str) -> str:
    """Return *text* with `REDACTED` in place of every secret."""
    text = _PEM.sub(rf"\1{REDACTED}\2", text)
    text = _URL.sub(rf"\1{REDACTED}@", text)
    text = _HEADER.sub(rf"\1{REDACTED}", text)
    text = _BIRD.sub(rf'\1"{REDACTED}"', text)
    text = _OPTION.sub(rf"\1{REDACTED}", text)
    text = _MEMBER.sub(_without_value, text)
    return _SETTING.sub(_without_value, text)


def _without_value(found: re.Match[str]) -> str:
    if _HARMLESS.search(found["name"]):
        return found[0]
    value = found["value"]
    quote = re.match(r"\\?[\"']", value)
    mark = quote[0] if quote and value.endswith(quote[0]) else ""
    end = "\n" if value.endswith("\n") else ""
    return f"{found['before']}{mark}{REDACTED}{mark}{end}"
