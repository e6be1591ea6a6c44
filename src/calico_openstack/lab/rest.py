"""Web APIs of the lab over their Unix sockets.

A Unix socket is reached from every network namespace, and importing nothing but the standard
library keeps the commands quick (the SDK takes seconds to load).
"""

import http.client
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Resource = dict[str, Any]


class RestError(Exception):
    """The API refused, with its own words; `status` is the HTTP status, 0 without an answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Answer:
    """An answer: the decoded body, empty when there is none, and the headers."""

    body: Resource
    headers: Mapping[str, str]


@dataclass(frozen=True)
class RestApi:
    """A service, by its name and its Unix socket; `headers` go with each request.

    The timeout is in seconds.
    """

    service: str
    path: Path
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 60.0

    def request(self, method: str, url: str, body: Mapping[str, Any] | bytes | None = None) -> Any:
        """Send a request and return the decoded body of the answer. Raises RestError."""
        return self.exchange(method, url, body).body

    def exchange(
        self, method: str, url: str, body: Mapping[str, Any] | bytes | None = None
    ) -> Answer:
        """As `request`, with the headers of the answer. A body of bytes is sent as it is.

        What only reads is asked once more when a process of the service died over it.
        """
        try:
            return self._exchange(method, url, body)
        except RestError as error:
            if method != "GET" or not isinstance(error.__cause__, ConnectionError):
                raise
        return self._exchange(method, url, body)

    def _exchange(self, method: str, url: str, body: Mapping[str, Any] | bytes | None) -> Answer:
        connection = _UnixConnection(self.path, self.timeout)
        headers = {"Accept": "application/json", **self.headers}
        payload: bytes | None = None
        if isinstance(body, bytes):
            payload = body
            headers["Content-Type"] = "application/octet-stream"
        elif body is not None:
            payload = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, url, payload, headers)
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise RestError(f"{self.service}'s API does not answer ({error})") from error
        finally:
            connection.close()
        if response.status >= 400:
            raise RestError(f"{self.service} refused: {error_text(text)}", response.status)
        return Answer(json.loads(text) if text else {}, dict(response.headers))

    def answers(self, url: str = "/") -> bool:
        """Whether the API serves this request."""
        try:
            self.exchange("GET", url)
        except RestError:
            return False
        return True


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def error_text(text: str) -> str:
    """What an API says is wrong; the bodies come in several shapes."""
    try:
        error = json.loads(text)
    except ValueError:
        return text.strip()[:500] or "no reason given"
    # Nova and Keystone wrap the error in an object of one member, Neutron in NeutronError.
    while isinstance(error, dict) and "message" not in error and len(error) == 1:
        (error,) = error.values()
    if isinstance(error, dict):
        error = error.get("NeutronError", error)
    if isinstance(error, dict):
        error = error.get("message") or error
    return str(error)
