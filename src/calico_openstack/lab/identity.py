"""Who calls Neutron's API in the lab: a filter for its WSGI pipeline instead of Keystone.

The lab's API can be reached from the lab's namespaces only, so a caller who says nothing is the
administrator. A token `project:NAME` makes the caller an ordinary member of that project, so the
usual client can act as a tenant (OS_AUTH_TYPE=admin_token). Identity headers that a caller sends
are left as they are.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

ADMIN_PROJECT = "admin"
PROJECT_TOKEN = "project:"

WsgiApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def identity(token: str) -> dict[str, str]:
    """The identity headers (as WSGI names them) of the caller who has this token or none."""
    project = token.removeprefix(PROJECT_TOKEN) if token.startswith(PROJECT_TOKEN) else ""
    if project:
        return {
            "HTTP_X_USER_ID": f"{project}-user",
            "HTTP_X_PROJECT_ID": project,
            "HTTP_X_ROLES": "member,reader",
        }
    return {
        "HTTP_X_USER_ID": "admin",
        "HTTP_X_PROJECT_ID": ADMIN_PROJECT,
        "HTTP_X_ROLES": "admin,member,reader",
    }


def client_environment(api_url: str, project: str | None) -> dict[str, str]:
    """The environment in which the `openstack` client acts as administrator or as a project."""
    if project is None:
        return {"OS_AUTH_TYPE": "none", "OS_ENDPOINT": f"{api_url}/"}
    return {
        "OS_AUTH_TYPE": "admin_token",
        "OS_ENDPOINT": f"{api_url}/",
        "OS_TOKEN": f"{PROJECT_TOKEN}{project}",
    }


def filter_factory(
    _global_conf: Mapping[str, str], **_local_conf: str
) -> Callable[[WsgiApplication], WsgiApplication]:
    """Paste's way to make the filter."""

    def wrap(application: WsgiApplication) -> WsgiApplication:
        def identified(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            if not environ.get("HTTP_X_PROJECT_ID"):
                environ.update(identity(environ.get("HTTP_X_AUTH_TOKEN", "")))
            return application(environ, start_response)

        return identified

    return wrap
