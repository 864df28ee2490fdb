"""What a wheel needs is declared and in its place. Building one is left to .ci/run."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from importlib import import_module
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import concord
from concord import migrate

CHECKOUT = Path(__file__).parents[1]
EXTRAS = ("embedded", "report")
"""The extras, each with the package that alone may use what it brings."""


@cache
def project() -> dict[str, Any]:
    return tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))


def names(requirements: list[str]) -> set[str]:
    """Return the normalised names of distributions."""
    return {re.split(r"[\[<>=~! ]", text)[0].lower().replace("_", "-") for text in requirements}


def imported(path: Path) -> set[str]:
    """Return the third-party modules that a file imports, or looks for, wherever it does."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import():
                modules |= {alias.name for alias in node.names}
            case ast.ImportFrom(module=str() as module, level=0):
                modules.add(module)
            case ast.Call(func=ast.Name(id="find_spec"), args=[ast.Constant(value=str() as name)]):
                modules.add(name)
            case _:
                pass
    top = {module.partition(".")[0] for module in modules}
    return top - sys.stdlib_module_names - {"concord"}


def distributions(modules: set[str]) -> set[str]:
    known = packages_distributions()
    return {known[module][0].lower().replace("_", "-") for module in modules}


def test_the_version_is_told_once_in_two_places() -> None:
    assert project()["project"]["version"] == concord.__version__


def test_the_command_is_a_function() -> None:
    for target in project()["project"]["scripts"].values():
        module, _, attribute = target.partition(":")
        assert callable(getattr(import_module(module), attribute))


def test_what_is_imported_is_declared_and_the_other_way_round() -> None:
    shipped = [*CHECKOUT.glob("concord/**/*.py"), *CHECKOUT.glob("migrations/**/*.py")]
    everywhere: set[str] = set()
    of_extras: dict[str, set[str]] = {name: set() for name in EXTRAS}
    for path in shipped:
        of_extras.get(path.parent.name, everywhere).update(imported(path))
    declared = names(project()["project"]["dependencies"])
    assert distributions(everywhere) == declared
    for name, found in of_extras.items():
        extra = names(project()["project"]["optional-dependencies"][name])
        assert distributions(found) - declared == extra


def test_the_wheel_takes_in_the_migrations_and_the_completions() -> None:
    included = project()["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert included == {
        "migrations": "concord/migrations",
        "completions": "concord/completions",
    }
    for source in included:
        assert any((CHECKOUT / source).iterdir())
    assert migrate.directory() == CHECKOUT / "migrations"
    assert (CHECKOUT / "concord" / "py.typed").is_file()
