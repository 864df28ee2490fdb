"""A real PostgreSQL for every test: one embedded server, a database like a template each."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, LiteralString

import hypothesis
import psycopg
import pytest
from databases import Databases
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pytest_postgresql.janitor import DatabaseJanitor

from concord import embedded, migrate
from concord.database import Database
from concord.embedded import launch
from concord.settings import Settings, load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from commands import Here
    from forking import Nursery
    from workers import Worker, Workers

SHARED_DATA = Path(__file__).parents[1].parent / "shared" / "data"
"""Real task files, where they are at hand."""

TIMEOUT = 60
"""Seconds after which a process that a test started is a failure."""

hypothesis.settings.register_profile("unhurried", deadline=None)  # a slow machine is no failure
hypothesis.settings.load_profile("unhurried")

_numbers = count(1)


def open_directory() -> Path:
    """Return a new directory that a server may live in.

    When the tests run as root, the server is another user, who cannot look into pytest's own
    temporary directories.
    """
    path = Path(tempfile.mkdtemp(prefix="concord-test-", dir="/tmp"))
    path.chmod(0o755)
    return path


def settings_for(url: str, **flags: str) -> Settings:
    """Return settings that know nothing of the machine's environment."""
    given = {"database_url": url, "user": "ana", **flags}
    return load(given, {"XDG_CONFIG_HOME": "/nonexistent"}, Path("/"))


@dataclass(frozen=True)
class Server:
    """The server of the test session, and how to make databases on it."""

    parameters: dict[str, Any]

    def url(self, name: str) -> str:
        """Return the connection string of a database."""
        return make_conninfo("", **{**self.parameters, "dbname": name})

    def janitor(self, name: str, template: str | None = None) -> DatabaseJanitor:
        """Return what creates and drops a database."""
        return DatabaseJanitor(
            user=self.parameters["user"],
            host=self.parameters["host"],
            port=self.parameters.get("port", 5432),
            dbname=name,
            template_dbname=template,
        )


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A running embedded server."""
    directory = open_directory()
    # No test takes the power away from the machine; without fsync all else is as it is with it.
    hasty = partial(launch.server_command, fsync="off")
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(launch, "server_command", hasty)
            embedded.start(directory)
        yield Server(conninfo_to_dict(embedded.conninfo(directory, owner=True)))
    finally:
        embedded.stop(directory)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def empty_url(server: Server) -> Iterator[str]:
    """A database without a schema, for this test alone."""
    with server.janitor(f"empty_{next(_numbers)}") as janitor:
        yield server.url(janitor.dbname)


@pytest.fixture(scope="session")
def template(server: Server) -> Iterator[str]:
    """The name of a database with the schema and the user `ana` in it, to clone from."""
    with server.janitor("concord_template") as janitor:
        migrate.upgrade(settings_for(server.url(janitor.dbname)))
        with psycopg.connect(server.url(janitor.dbname)) as connection:
            connection.execute("INSERT INTO users (username) VALUES ('ana')")
        yield janitor.dbname


@pytest.fixture(scope="session")
def databases(server: Server, template: str) -> Databases:
    """Databases with the schema and the user `ana`, each for one test at a time."""
    return Databases(server, template)


ALL_ASSIGNED: LiteralString = """
CREATE OR REPLACE FUNCTION assigned_tasks() RETURNS SETOF bigint
LANGUAGE sql STABLE SECURITY DEFINER
BEGIN ATOMIC SELECT id FROM tasks; END
"""
CREW = sql.SQL("CREATE POLICY crew ON {} TO concord_user USING (true) WITH CHECK (true)")


def make_crew(url: str) -> None:
    """Let everybody see and change everything in a database."""
    with psycopg.connect(url) as connection:
        for (table,) in connection.execute(
            "SELECT relname FROM pg_class WHERE relrowsecurity"
        ).fetchall():
            connection.execute(CREW.format(sql.Identifier(table)))
        connection.execute(ALL_ASSIGNED)


@pytest.fixture(scope="session")
def crew_template(server: Server, template: str) -> Iterator[str]:
    """The name of a database like the template, in which everybody may change everything."""
    with server.janitor("concord_crew_template", template) as janitor:
        make_crew(server.url(janitor.dbname))
        yield janitor.dbname


@pytest.fixture(scope="session")
def crew_databases(server: Server, crew_template: str) -> Databases:
    """Databases like the others, in which everybody may see and change everything."""
    return Databases(server, crew_template)


@pytest.fixture
def url(server: Server, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database with the schema and the user `ana`, and nothing else, for this test alone.

    What several people do to the same tasks, whosoever they are, is tried where everybody sees
    everything: with `workers`, and in what is marked `crew`.
    """
    crew = "workers" in request.fixturenames or request.node.get_closest_marker("crew")
    databases: Databases = request.getfixturevalue("crew_databases" if crew else "databases")
    name = databases.take()
    yield server.url(name)
    databases.give_back(name)


@pytest.fixture
def settings(url: str) -> Settings:
    """Settings for this test's database, acting as `ana`."""
    return settings_for(url)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """This test's database, to run operations on as `ana`."""
    with Database(settings, "test") as made:
        yield made


@pytest.fixture(scope="session")
def crowded(server: Server, template: str) -> Iterator[Database]:
    """A database of 100,000 tasks, which tests may change a little."""
    from crowd import POPULATION
    from workers import psql

    with server.janitor("crowded", template) as janitor:
        url = server.url(janitor.dbname)
        psql(url, POPULATION)
        psql(url, "VACUUM ANALYZE")
        with Database(settings_for(url), "test") as made:
            yield made


@dataclass(frozen=True)
class Result:
    """What a process of the command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed as JSON."""
        return json.loads(self.out)

    @property
    def error(self) -> Any:
        """The error that it printed as JSON."""
        return json.loads(self.err.splitlines()[-1])["error"]


class CommandLine:
    """The real `concord`, one process a call, with a home and a working directory of its own."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        kept = {
            name: value
            for name, value in os.environ.items()
            if name in ("PATH", "LANG") or name.startswith(("COVERAGE", "COV_"))
        }
        self.environment = {
            **kept,
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_STATE_HOME": str(home / "state"),
            "TZ": "UTC",
            **environment,
        }

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start a process and return it; the caller waits for it."""
        settings: dict[str, Any] = {
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "cwd": self.home,
            "env": self.environment,
            "encoding": "utf-8",
        }
        return subprocess.Popen([sys.executable, "-m", "concord", *arguments], **settings | options)

    def __call__(self, *arguments: str, stdin: str = "", **environment: str) -> Result:
        """Run a command line to its end and return what it did."""
        process = self.start(*arguments, env={**self.environment, **environment})
        return finish(process, stdin)

    def ok(self, *arguments: str, stdin: str = "", **environment: str) -> Any:
        """Run a command line with --json, which must succeed, and return what it printed."""
        result = self(*arguments, "--json", stdin=stdin, **environment)
        assert result.code == 0, result
        return json.loads(result.out) if result.out else None


def finish(process: subprocess.Popen[str], stdin: str | None = None) -> Result:
    """Wait for a process and return what it did."""
    try:
        out, err = process.communicate(stdin, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        pytest.fail(f"still running after {TIMEOUT} s: {process.args!r}\n{out}\n{err}")
    return Result(process.returncode, out, err)


@pytest.fixture
def concord(url: str, tmp_path: Path) -> CommandLine:
    """The real command line on this test's database, acting as `ana`."""
    return CommandLine(tmp_path, CONCORD_DATABASE_URL=url, CONCORD_USER="ana")


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """What starts processes of the command line faster than Python does."""
    from forking import Nursery

    with Nursery() as made:
        yield made


@pytest.fixture
def here(
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Here:
    """The command line in this process, on this test's database, acting as `ana`."""
    from commands import Here

    return Here(url, tmp_path, monkeypatch, capsys)


@pytest.fixture
def workers(url: str) -> Iterator[Workers]:
    """Users of this test's database, each on a connection of their own: `ana`, `bo`, `cy`."""
    from workers import Workers, psql

    psql(url, "INSERT INTO users (username) VALUES ('bo'), ('cy')")
    with Workers(url) as made:
        yield made


@pytest.fixture
def ana(workers: Workers) -> Worker:
    """The user `ana`, whom no time-out stops."""
    return workers.patient("ana")


@pytest.fixture
def bo(workers: Workers) -> Worker:
    """The user `bo`, whom no time-out stops."""
    return workers.patient("bo")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real task files; skips the test where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real task files are not at hand")
    return SHARED_DATA
