"""Neutron's REST API as the lab's commands use it: over the API's Unix socket.

A Unix socket is reached from every network namespace, and importing nothing but the standard
library keeps the commands quick (the SDK takes seconds to load).
"""

import http.client
import json
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

Resource = dict[str, Any]


class NeutronError(Exception):
    """The API refused, with its own words; `status` is the HTTP status, 0 without an answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class NeutronApi:
    """The administrator's view of the lab's Neutron, or a project's. Timeouts are in seconds."""

    def __init__(self, path: Path, *, project: str | None = None, timeout: float = 60.0) -> None:
        self._path = path
        self._timeout = timeout
        self._headers = {"X-Auth-Token": f"project:{project}"} if project else {}

    def find_all(self, collection: str, **filters: str) -> list[Resource]:
        """The resources of a collection ("ports", "security-groups", ...) that match filters."""
        query = f"?{urlencode(filters)}" if filters else ""
        body = self._request("GET", f"/{collection}{query}")
        found: list[Resource] = body[collection.replace("-", "_")]
        return found

    def find_all_if_known(self, collection: str) -> list[Resource]:
        """As `find_all`; nothing when this Neutron has no such collection."""
        try:
            return self.find_all(collection)
        except NeutronError as error:
            if error.status == 404:
                return []
            raise

    def get(self, collection: str, identifier: str) -> Resource:
        """One resource. Raises NeutronError."""
        return self._only(self._request("GET", f"/{collection}/{identifier}"))

    def find(self, collection: str, name_or_id: str) -> Resource:
        """The one resource of this name or id. Raises NeutronError."""
        found = self.find_all(collection, name=name_or_id) or self.find_all(
            collection, id=name_or_id
        )
        if len(found) == 1:
            return found[0]
        kind = collection.replace("-", " ").removesuffix("s")
        if found:
            raise NeutronError(f"{len(found)} of the {kind}s are named {name_or_id!r}; use an id")
        names = ", ".join(sorted(item["name"] for item in self.find_all(collection))) or "none"
        raise NeutronError(f"there is no {kind} {name_or_id!r} (there are: {names})")

    def create(self, collection: str, **attributes: Any) -> Resource:
        """Create a resource and return it. Attribute `binding__host_id` means binding:host_id."""
        singular = _singular(collection)
        body = {singular: {name.replace("__", ":"): v for name, v in attributes.items()}}
        return self._only(self._request("POST", f"/{collection}", body))

    def update(self, collection: str, identifier: str, **attributes: Any) -> Resource:
        """Change a resource and return it."""
        body = {_singular(collection): {k.replace("__", ":"): v for k, v in attributes.items()}}
        return self._only(self._request("PUT", f"/{collection}/{identifier}", body))

    def delete(self, collection: str, identifier: str) -> bool:
        """Delete a resource; False when it was not there."""
        try:
            self._request("DELETE", f"/{collection}/{identifier}")
        except NeutronError as error:
            if error.status == 404:
                return False
            raise
        return True

    def answers(self) -> bool:
        """Whether the API serves requests."""
        try:
            self.find_all("networks", limit="1")
        except NeutronError:
            return False
        return True

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Resource:
        connection = _UnixConnection(self._path, self._timeout)
        headers = {"Accept": "application/json", **self._headers}
        payload = None
        if body is not None:
            payload = json.dumps(body)
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, f"/v2.0{path}", payload, headers)
            response = connection.getresponse()
            text = response.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            raise NeutronError(f"Neutron's API does not answer ({error})") from error
        finally:
            connection.close()
        if response.status >= 400:
            raise NeutronError(f"Neutron refused: {_message(text)}", response.status)
        answer: Resource = json.loads(text) if text else {}
        return answer

    @staticmethod
    def _only(body: Resource) -> Resource:
        values: Iterable[Resource] = body.values()
        return next(iter(values))


def _singular(collection: str) -> str:
    return collection.replace("-", "_").removesuffix("s")


def _message(text: str) -> str:
    """What the API says is wrong; its bodies come in several shapes."""
    try:
        error = json.loads(text)
    except ValueError:
        return text.strip()[:500] or "no reason given"
    if isinstance(error, dict):
        error = error.get("NeutronError", error)
    if isinstance(error, dict):
        error = error.get("message") or error.get("error") or error
    return str(error)
