"""Imports point one way: operations -> voices -> agencies -> ultravox -> voiceproject."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.project import ROOT

PACKAGES = ("operations", "voices", "agencies", "ultravox", "voiceproject")  # from the top down
# The layers of `voices`, from the top down. Modules of one layer may import each other, but not in a circle.
VOICES = (
    {"apps"},
    {"api", "admin", "management", "tasks", "checks"},
    {"sync", "search", "previews", "alerts"},
    {"runs", "writer", "records", "visibility"},
    {"models", "folding", "masking", "labels"},
)
# These name applications from below, as strings where Django allows it.
WIRING = {"voiceproject.urls", "voiceproject.settings", "voiceproject.celery", "voiceproject.wsgi"}


def modules() -> Iterator[tuple[str, ast.Module]]:
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            if "migrations" not in file.parts:
                name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
                yield name.removesuffix(".__init__"), ast.parse(file.read_text())


MODULES = dict(modules())


def imports(tree: ast.AST) -> set[str]:
    """Return the project's modules and packages that the code imports."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            nested = {f"{node.module}.{alias.name}" for alias in node.names} & set(MODULES)
            found |= nested or {node.module}
    return {name for name in found if name.partition(".")[0] in PACKAGES}


def layer(name: str) -> int:
    """Return a module's layer among all, counted from the top."""
    package, _, rest = name.partition(".")
    if package != "voices" or not rest:
        return 10 * PACKAGES.index(package)
    module = rest.partition(".")[0]
    [found] = [number for number, modules in enumerate(VOICES) if module in modules]
    return 10 * PACKAGES.index(package) + found


@pytest.mark.parametrize("name", sorted(set(MODULES) - WIRING))
def test_module_imports_only_from_its_own_layer_and_below(name: str) -> None:
    above = {used for used in imports(MODULES[name]) if layer(used) < layer(name)}
    assert not above


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: imports(tree) - {name} for name, tree in MODULES.items()}
    while removable := {name for name, used in graph.items() if not used & set(graph)}:
        for name in removable:
            del graph[name]
    assert not graph


def test_the_errors_import_nothing_from_the_project() -> None:
    assert not imports(MODULES["voiceproject.errors"])


def test_the_ultravox_client_knows_no_django_model() -> None:
    for name, tree in MODULES.items():
        if name.startswith("ultravox"):
            modules = {
                node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
            }
            assert not {module for module in modules if module.startswith("django")}, name


def test_no_function_imports_the_project() -> None:
    for name, tree in MODULES.items():
        if Path(name).suffix == ".apps":
            continue  # AppConfig.ready
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert not imports(node), f"{name}.{node.name}"


def test_only_credentials_reads_a_key() -> None:
    for name, tree in MODULES.items():
        reads = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Load)
            and node.attr == "ultravox_api_key"
        ]
        assert not reads or name == "agencies.credentials", name
