"""Neutron's REST API as the lab's commands use it: over the API's Unix socket."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from calico_openstack.lab.rest import Resource, RestApi, RestError


class NeutronApi:
    """The view of the lab's Neutron that a token gives. Timeouts are in seconds."""

    def __init__(self, path: Path, *, token: str | None = None, timeout: float = 60.0) -> None:
        self._rest = RestApi("Neutron", path, {"X-Auth-Token": token} if token else {}, timeout)

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
        except RestError as error:
            if error.status == 404:
                return []
            raise

    def get(self, collection: str, identifier: str) -> Resource:
        """One resource. Raises RestError."""
        return self._only(self._request("GET", f"/{collection}/{identifier}"))

    def find(self, collection: str, name_or_id: str) -> Resource:
        """The one resource of this name or id. Raises RestError."""
        found = self.find_all(collection, name=name_or_id) or self.find_all(
            collection, id=name_or_id
        )
        if len(found) == 1:
            return found[0]
        kind = collection.replace("-", " ").removesuffix("s")
        if found:
            raise RestError(f"{len(found)} of the {kind}s are named {name_or_id!r}; use an id")
        names = ", ".join(sorted(item["name"] for item in self.find_all(collection))) or "none"
        raise RestError(f"there is no {kind} {name_or_id!r} (there are: {names})")

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
        except RestError as error:
            if error.status == 404:
                return False
            raise
        return True

    def answers(self) -> bool:
        """Whether the API serves requests."""
        try:
            self.find_all("networks", limit="1")
        except RestError:
            return False
        return True

    def _request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Resource:
        answer: Resource = self._rest.request(method, f"/v2.0{path}", body)
        return answer

    @staticmethod
    def _only(body: Resource) -> Resource:
        values: Iterable[Resource] = body.values()
        return next(iter(values))


def _singular(collection: str) -> str:
    return collection.replace("-", "_").removesuffix("s")
