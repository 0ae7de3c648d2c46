"""Imports point one way: from the entry points down to the errors."""

import ast
from collections.abc import Iterator

import pytest

from tests.support.project import ROOT

APPLICATIONS = ("agencies", "operations", "voices", "voiceproject")
# Of the modules below the entry points: what each may import of ours.
MAY_IMPORT = {
    "voiceproject.errors": set(),
    "voiceproject.database_errors": {"voiceproject.errors"},
    "voiceproject.env": set(),
    "voiceproject.logs": set(),
    "voiceproject.sentry": {"voiceproject.logs"},
    "voiceproject.slashes": set(),
    "voiceproject.settings": {"voiceproject.env", "voiceproject.logs", "voiceproject.sentry"},
    "agencies.fields": {"voiceproject.errors"},
    "agencies.models": {"agencies.fields"},
    "agencies.credentials": {"agencies.fields", "agencies.models", "voiceproject.errors"},
    "voices.ultravox.transport": {"voiceproject.errors"},
    "voices.ultravox.read_ahead": set(),
    "voices.ultravox.client": {"voices.ultravox.read_ahead", "voices.ultravox.transport"},
    "voices.ultravox.preview": {"voices.ultravox.read_ahead", "voices.ultravox.transport"},
    "voices.ultravox": {
        "voices.ultravox.client",
        "voices.ultravox.preview",
        "voices.ultravox.transport",
    },
    "voices.models": {"agencies.models"},
    "voices.records": set(),
    "voices.store": {
        "agencies.models",
        "voiceproject.database_errors",
        "voiceproject.errors",
        "voices.folding",
        "voices.models",
        "voices.records",
    },
    "voices.runs": {
        "agencies.credentials",
        "agencies.fields",
        "agencies.models",
        "voiceproject.database_errors",
        "voiceproject.errors",
        "voiceproject.logs",
        "voices.models",
        "voices.store",
        "voices.ultravox",
    },
    "voices.watchdog": {
        "voiceproject.database_errors",
        "voices.models",
        "voices.runs",
        "voices.store",
    },
    "voices.masking": set(),
    "voices.folding": set(),
    "voices.words": set(),
    "voices.queries": {
        "agencies.callers",
        "agencies.models",
        "agencies.permissions",
        "voices.folding",
        "voices.models",
        "voices.runs",
        "voices.store",
    },
    "voices.keys": {"agencies.credentials", "agencies.models", "voices.models", "voices.ultravox"},
    "voices.previews": {
        "agencies.credentials",
        "agencies.fields",
        "voiceproject.errors",
        "voices.models",
        "voices.ultravox",
    },
}
ENTRY_POINTS = {
    "views", "reading", "audio", "tasks", "admin", "sync_voices", "urls", "wsgi", "probes", "worker",
}  # fmt: skip


def modules() -> Iterator[tuple[str, ast.Module]]:
    for application in APPLICATIONS:
        for file in (ROOT / application).rglob("*.py"):
            if "migrations" not in file.parts:
                name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
                yield name.removesuffix(".__init__"), ast.parse(file.read_text())


MODULES = dict(modules())


def imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            nested = {f"{node.module}.{alias.name}" for alias in node.names} & set(MODULES)
            found |= nested or {node.module}
    return {name for name in found if name.partition(".")[0] in APPLICATIONS}


@pytest.mark.parametrize("name", MAY_IMPORT)
def test_module_imports_only_what_is_below_it(name: str) -> None:
    assert imports(MODULES[name]) <= MAY_IMPORT[name]


def test_agencies_do_not_know_voices() -> None:
    for name, tree in MODULES.items():
        if name.startswith("agencies"):
            assert not {used for used in imports(tree) if used.startswith("voices")}, name


def test_nobody_knows_operations() -> None:
    for name, tree in MODULES.items():
        if not name.startswith("operations"):
            assert not {used for used in imports(tree) if used.startswith("operations")}, name


def test_nothing_imports_an_entry_point() -> None:
    for name, tree in MODULES.items():
        if not ENTRY_POINTS & set(name.split(".")):
            used = {each for each in imports(tree) if ENTRY_POINTS & set(each.split("."))}
            assert not used, name


def test_no_function_imports_our_own_code() -> None:
    for name, tree in MODULES.items():
        if name.endswith(".apps"):
            continue  # AppConfig.ready
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert not imports(node), f"{name}.{node.name}"


def test_only_credentials_reads_a_key() -> None:
    for name, tree in MODULES.items():
        readers = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Load)
            and node.attr == "ultravox_api_key"
        }
        assert not readers or name == "agencies.credentials", name
