"""How services and clients of the lab prove to Keystone who they are: options as texts. Pure.

There is one password for everybody: the lab's services can be reached from its namespaces only.
"""

from dataclasses import dataclass

PASSWORD = "lab"
REGION = "RegionOne"
DOMAIN = "Default"
ADMIN = "admin"
SERVICE_PROJECT = "service"


@dataclass(frozen=True)
class KeystoneAccess:
    """A Keystone, by the root address of its API, without ``/v3``."""

    url: str

    def credentials(self, user: str, project: str = SERVICE_PROJECT) -> dict[str, object]:
        """The options of keystoneauth's plugin ``password``."""
        return {
            "auth_type": "password",
            "auth_url": f"{self.url}/v3",
            "username": user,
            "password": PASSWORD,
            "user_domain_name": DOMAIN,
            "project_name": project,
            "project_domain_name": DOMAIN,
        }

    def client(self, user: str) -> dict[str, object]:
        """The options of a service that calls another one, found in the catalogue."""
        return {**self.credentials(user), "region_name": REGION}

    def validation(self, user: str) -> dict[str, object]:
        """The options of keystonemiddleware's section ``keystone_authtoken``."""
        return {
            **self.credentials(user),
            "www_authenticate_uri": f"{self.url}/v3",
            "service_token_roles": "service",
            "service_token_roles_required": True,
        }

    def environment(self, user: str, project: str) -> dict[str, str]:
        """The environment in which the `openstack` client acts as a user in a project."""
        options = {**self.credentials(user, project), "region_name": REGION}
        variables = {f"OS_{name.upper()}": str(value) for name, value in options.items()}
        return {**variables, "OS_IDENTITY_API_VERSION": "3"}
