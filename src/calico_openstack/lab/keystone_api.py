"""The lab's Keystone as its commands use it: over the API's Unix socket."""

from functools import cached_property

from calico_openstack.lab.keystone_access import ADMIN, PASSWORD
from calico_openstack.lab.rest import Resource, RestApi
from calico_openstack.lab.settings import Lab

MEMBER = "member"
_TOKEN_HEADER = "X-Subject-Token"


class Keystone:
    """Keystone for its administrator. Methods that ask it raise RestError."""

    def __init__(self, lab: Lab) -> None:
        self._anonymous = RestApi("Keystone", lab.keystone_socket)

    def answers(self) -> bool:
        """Whether the API serves requests."""
        return self._anonymous.answers("/v3")

    def token(self, user: str = ADMIN, project: str = ADMIN) -> str:
        """A token with which the user acts in the project."""
        domain = {"id": "default"}
        identity = {
            "methods": ["password"],
            "password": {"user": {"name": user, "domain": domain, "password": PASSWORD}},
        }
        scope = {"project": {"name": project, "domain": domain}}
        body = {"auth": {"identity": identity, "scope": scope}}
        return self._anonymous.exchange("POST", "/v3/auth/tokens", body).headers[_TOKEN_HEADER]

    def request(self, method: str, url: str, body: Resource | None = None) -> Resource:
        """Send a request as administrator; return the decoded answer."""
        answer: Resource = self._administrator.request(method, url, body)
        return answer

    def ensure(self, collection: str, *, name: str, **attributes: str) -> Resource:
        """The object of this name, made with these attributes when there is none."""
        found = self.request("GET", f"/v3/{collection}?name={name}")[collection]
        if found:
            first: Resource = found[0]
            return first
        singular = collection.removesuffix("s")
        body = {singular: {"name": name, **attributes}}
        made: Resource = self.request("POST", f"/v3/{collection}", body)[singular]
        return made

    def grant(self, user: str, project_id: str, role: str) -> None:
        """Give a user, made if need be, a role in a project."""
        user_id = self.ensure("users", name=user, password=PASSWORD)["id"]
        role_id = self.ensure("roles", name=role)["id"]
        self.request("PUT", f"/v3/projects/{project_id}/users/{user_id}/roles/{role_id}")

    def ensure_member(self, name: str) -> None:
        """Make a project, and a user of the same name who is a member of it, unless known."""
        self.grant(name, self.ensure("projects", name=name)["id"], MEMBER)

    @cached_property
    def _administrator(self) -> RestApi:
        return RestApi("Keystone", self._anonymous.path, {"X-Auth-Token": self.token()})
