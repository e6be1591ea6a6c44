"""Who may import whom: the rule that keeps decisions apart from input and output.

Read from the source by its syntax tree, so that imports inside functions count too.
"""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import calico_openstack

PACKAGE = "calico_openstack"
ROOT = Path(calico_openstack.__file__).parent
EVERYTHING = frozenset({"*"})

# Which rooms a room may import from, besides itself. Generated code is left out.
MAY_IMPORT: dict[str, frozenset[str]] = {
    "datamodel": frozenset(),
    "policy": frozenset({"datamodel"}),
    "felix.calc": frozenset({"datamodel", "policy"}),
    "felix.render": frozenset({"datamodel", "policy", "felix.calc"}),
    "felix.config": frozenset({"datamodel"}),
    "felix.kernel": frozenset({"felix.render", "agent", "netlink"}),
    "felix": frozenset(
        {
            "datamodel",
            "policy",
            "etcd",
            "agent",
            "felix.calc",
            "felix.render",
            "felix.config",
            "felix.kernel",
        }
    ),
    "etcd": frozenset(),
    "netlink": frozenset(),
    "agent": frozenset({"datamodel", "etcd"}),
    "bgp": frozenset({"datamodel", "etcd", "agent", "netlink"}),
    "dhcp": frozenset({"datamodel", "etcd", "agent", "netlink"}),
    "neutron.translate": frozenset({"datamodel"}),
    "neutron": frozenset({"datamodel", "etcd", "neutron.translate"}),
    "calicoctl": frozenset(
        {
            "datamodel",
            "policy",
            "etcd",
            "agent",
            "felix",
            "felix.calc",
            "felix.config",
            "bgp",
            "dhcp",
        }
    ),
    "lab": EVERYTHING,
    "": frozenset(),
}

# Packages of which everything is pure, and modules that are pure with all that they import.
PURE_ROOMS = (
    "datamodel",
    "policy",
    "felix.calc",
    "felix.render",
    "felix.config",
    "neutron.translate",
)
PURE_MODULES = (
    "bgp.birdroutes",
    "bgp.birdstatus",
    "bgp.connectivity",
    "bgp.debounce",
    "bgp.detection",
    "bgp.hang",
    "bgp.isolation",
    "bgp.node",
    "bgp.nodestatus",
    "bgp.peering",
    "bgp.render",
    "bgp.safeguard",
    "bgp.tor",
    "dhcp.desired",
)

PURE_LIBRARIES = frozenset(
    {
        "__future__",
        "abc",
        "base64",
        "bisect",
        "collections",
        "contextlib",
        "copy",
        "dataclasses",
        "enum",
        "functools",
        "hashlib",
        "heapq",
        "ipaddress",
        "itertools",
        "json",
        "math",
        "msgspec",
        "operator",
        "re",
        "string",
        "struct",
        "sys",
        "types",
        "typing",
    }
)
# BIRD's configuration is text from templates.
PURE_EXCEPTIONS = {"bgp.render": frozenset({"jinja2"})}
IMPURE_BUILTINS = frozenset({"open", "print", "input", "exec", "eval", "breakpoint"})

# Libraries that belong to a few rooms only.
KEPT_TO = {
    "neutron": {"neutron", "neutron_lib", "sqlalchemy", "keystoneauth1", "openstack", "alembic"},
    "etcd": {"grpc", "google"},
}
NEUTRON_PREFIXES = ("oslo_",)


def modules() -> Iterator[tuple[str, Path]]:
    """Yield the name below the package and the file of every module that people wrote."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if path.stem.endswith(("_pb2", "_pb2_grpc")):
            continue
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(modules())


def room_of(module: str) -> str:
    """Return the room that a module is in."""
    parts = module.split(".")
    for length in (2, 1):
        if (room := ".".join(parts[:length])) in MAY_IMPORT:
            return room
    return ""


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(), MODULES[module])


@cache
def imports_of(module: str) -> frozenset[str]:
    """Return the full names of everything that a module imports."""
    found: set[str] = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            assert node.module is not None
            # A name that is imported from a package may be a module of its own.
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(found)


def internal_imports(module: str) -> set[str]:
    """Return the modules of ours that a module imports, by their names below the package."""
    names = {
        name.removeprefix(f"{PACKAGE}.")
        for name in imports_of(module)
        if name.startswith(f"{PACKAGE}.")
    }
    return {name for name in names if name in MODULES}


def external_imports(module: str) -> set[str]:
    """Return the top-level names of the libraries that a module imports."""
    return {name.split(".")[0] for name in imports_of(module)} - {PACKAGE}


def pure_modules() -> set[str]:
    """Return the modules that must be pure, with everything of ours that they import."""
    pending = [m for m in MODULES if room_of(m) in PURE_ROOMS]
    pending += [m for m in PURE_MODULES if m in MODULES]
    found: set[str] = set()
    while pending:
        module = pending.pop()
        if module not in found:
            found.add(module)
            pending += internal_imports(module)
    return found


@pytest.mark.parametrize("module", sorted(MODULES))
def test_rooms_import_only_what_they_may(module: str) -> None:
    room = room_of(module)
    allowed = MAY_IMPORT[room]
    if allowed is EVERYTHING:
        return
    rooms = {room_of(name) for name in internal_imports(module)}
    assert rooms - allowed - {room, ""} == set(), f"{module} may import from {sorted(allowed)} only"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_libraries_stay_in_their_rooms(module: str) -> None:
    room = room_of(module).split(".")[0]
    for owner, libraries in KEPT_TO.items():
        if room != owner:
            assert external_imports(module) & libraries == set(), f"{owner} only"
    if room != "neutron":
        assert not [n for n in external_imports(module) if n.startswith(NEUTRON_PREFIXES)]


@pytest.mark.parametrize("module", sorted(pure_modules()))
def test_pure_modules_do_no_input_and_output(module: str) -> None:
    allowed = PURE_LIBRARIES | PURE_EXCEPTIONS.get(module, frozenset())
    assert external_imports(module) - allowed == set()
    from_sys = {name for name in imports_of(module) if name.split(".")[0] == "sys"}
    assert from_sys <= {"sys", "sys.intern"}
    for node in ast.walk(tree_of(module)):
        match node:
            case ast.Call(func=ast.Name(id=name)):
                assert name not in IMPURE_BUILTINS, f"{module} calls {name}()"
            case ast.Attribute(value=ast.Name(id="sys"), attr=name):
                assert name == "intern", f"{module} uses sys.{name}"


def test_the_pure_rooms_are_there() -> None:
    for room in PURE_ROOMS:
        assert any(room_of(module) == room for module in MODULES), room
    for module in PURE_MODULES:
        assert module in MODULES


@pytest.mark.parametrize(
    "module", ["datamodel", "felix.service", "bgp.main", "dhcp.main", "calicoctl.main"]
)
def test_compute_hosts_need_no_neutron(module: str) -> None:
    name = f"{PACKAGE}.{module}"
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not there")
    program = (
        f"import sys, {name}\n"
        "print(*sorted({m.split('.')[0] for m in sys.modules}))\n"
        f"print(*(m for m in sys.modules if m.startswith('{PACKAGE}.')))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    libraries, ours = (set(line.split()) for line in run.stdout.splitlines())
    assert libraries & KEPT_TO["neutron"] == set()
    assert not [library for library in libraries if library.startswith(NEUTRON_PREFIXES)]
    assert not [m for m in ours if m.startswith((f"{PACKAGE}.neutron", f"{PACKAGE}.lab"))]
